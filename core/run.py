"""One job from spec to finished folder: fetch → analyse → prune → evaluate → publish; or the first
two alone.

Knows no jobs table, no object store and no web: the command line and the worker's child process
both call `execute`, and the command line `analyse`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from core import evaluate, machine
from core.analysis_spec import AnalysisSpec
from core.calibration.token_file import write_token_file
from core.depth import (
    HIDING,
    Subject,
    depth_sequences,
    hidden_sequences,
    hide_sinks,
    judging_share,
    look_deeper,
)
from core.dense import DenseAnswers
from core.errors import BadRequest, OutputExists
from core.evaluate import Judged
from core.exhaustion import named_exhaustion
from core.journal import Journal
from core.models.checkpoint import Checkpoint
from core.models.intake import take_in
from core.outcome import Analysed, Outcome, analysis_report, write_folder, write_report
from core.phases import Phases
from core.progress import Forecast, Report
from core.pruning.plan import Plan
from core.pruning.workload import probe_sequences
from core.recipes import METHODS
from core.report.schema import AnalysisReport
from core.resume import (
    FinishedBlocks,
    KeptPassage,
    kept_plan,
    kept_targets,
    kept_trajectory,
    open_journal,
)
from core.spec import Evaluation, JobSpec
from core.stages import (
    Loaded,
    RunOptions,
    fetch,
    measure,
    plan_run,
    prune_into,
    share_out,
    watch_sinks,
    watched_on,
    write_trajectory,
)

WATCHING = "watching attention over the trajectory"
WRITING = "writing the trajectory"
EVALUATING = 0.24
"""Of a whole run, about."""
ANALYSING = 0.9
"""Of a whole analysis."""


def execute(spec: JobSpec, out: Path, options: RunOptions, report: Report) -> None:
    """Carry out `spec` into the new folder `out`: model/, report/ and manifest.json.

    `out` appears only when complete. `report` is called often and may raise Cancelled.

    Raises:
        OutputExists: `out` is there and `options.replace` is false.
        ModelError, DataError, BadRequest: the input cannot be used.
        OutOfMemory, DiskFull: the machine is too small; the message says what was needed.
    """
    with _new_folder(out, replace=options.replace) as partial, _scratch(partial.parent) as scratch:
        _carry_out(spec, partial, scratch, options, Phases(report))


def analyse(
    spec: AnalysisSpec,
    out: Path | None,
    options: RunOptions,
    report: Report,
    *,
    trajectory: Path | None = None,
) -> AnalysisReport:
    """Measure the model's attention sinks, and remove nothing.

    With `out`, the new folder gets report/ and manifest.json, as from `execute`; without, nothing is
    left. `trajectory` names a token file to save the watched sequences in.

    Raises:
        As `execute`, and BadRequest for a `trajectory` that could not be read again.
    """
    if trajectory is not None:
        _check_trajectory(trajectory, replace=options.replace)
    if spec.sinks.dump and out is None:
        raise BadRequest(
            "sinks.dump writes into the report, and there is to be none.",
            remedy="Name a folder for it with --out.",
        )
    phases = Phases(report)
    place = nullcontext() if out is None else _new_folder(out, replace=options.replace)
    with (
        _named_exhaustion(out or Path(tempfile.gettempdir())),
        place as partial,
        _scratch(partial and partial.parent) as scratch,
    ):
        analysed = _look(spec, scratch, options, phases, partial and partial / "report")
        with phases.phase("publishing", 0.05, "writing the report"):
            found, arrays = analysis_report(analysed)
            if partial is not None:
                write_report(found, arrays, partial)
            if trajectory is not None:
                _save_trajectory(trajectory, analysed.loaded)
    phases.finish()
    return found


def _check_trajectory(path: Path, *, replace: bool) -> None:
    """Before anything is computed for it."""
    if path.suffix != ".safetensors":
        raise BadRequest(
            f"{path.name} would not be read as a token file.",
            remedy="End its name in .safetensors.",
        )
    if path.exists() and not (replace and path.is_file()):
        raise OutputExists(f"{path} exists.", remedy="Choose another file or pass --force.")


def _save_trajectory(path: Path, loaded: Loaded) -> None:
    """Under its name only when complete."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as partial:
        written = Path(partial) / path.name
        write_token_file(written, loaded.prepared.trajectories)
        written.replace(path)


def _look(
    spec: AnalysisSpec, scratch: Path, options: RunOptions, phases: Phases, folder: Path | None
) -> Analysed:
    """The first phases of `execute`, with a recipe that reads no inputs; what is too large to be held
    goes into the report's `folder`."""
    recipe, device = METHODS["magnitude"], machine.device(options.device)
    machine.set_threads(options.threads)
    with phases.phase("fetching", 0.05, "reading model and text"):
        loaded = fetch(
            spec.model,
            spec.calibration,
            options,
            device,
            scratch,
            evaluation_samples=Evaluation().samples if spec.knockout else 0,
            to_prune=False,
            watch=phases.received,
        )
    hidden = hidden_sequences(loaded) if spec.knockout else 0
    budget, per_head = options.memory_budget, spec.sinks.per_head
    plan = plan_run(loaded, recipe, budget, per_head=per_head, depth_sequences=hidden)
    share = ANALYSING * (plan.forwards - hidden) / plan.forwards
    writes = 0.7 * share if loaded.prepared.writing else 0.0
    if writes:
        with phases.phase("analysing", writes, WRITING):
            written = write_trajectory(loaded, spec.calibration, plan, phases)
            loaded = watched_on(loaded, written)
    with phases.phase("analysing", share - writes, WATCHING):
        seen = watch_sinks(loaded, spec.sinks, recipe, plan, phases, report=folder)
    knockout = None
    if spec.knockout:
        with phases.phase("analysing", ANALYSING - share, HIDING):
            knockout = hide_sinks(loaded, spec, Evaluation().seed, plan.group, phases)
    return Analysed(
        spec=spec,
        loaded=loaded,
        plan=plan,
        seen=seen,
        knockout=knockout,
        seconds=phases.seconds,
        peak_bytes=machine.peak_bytes(device),
    )


@contextmanager
def _new_folder(out: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when everything within has succeeded."""
    out = out.absolute()
    if out.exists() and not replace:
        raise OutputExists(f"{out} exists.", remedy="Choose another folder or pass --force.")
    with _named_exhaustion(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            partial.chmod(0o755)
            yield partial
            _put_in_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _scratch(within: Path | None) -> Iterator[Path]:
    """A folder for what is downloaded, on the disk of the result where there is to be one, but not in
    it: a manifest names whatever lies there."""
    with tempfile.TemporaryDirectory(prefix=".secateur-", dir=within) as scratch:
        yield Path(scratch)


@contextmanager
def _named_exhaustion(out: Path) -> Iterator[None]:
    """Full disks and memories under names of ours, whatever library met them first."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        named = named_exhaustion(error, out, machine.memory_words)
        if named is None:
            raise
        raise named from error


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to its name; a replaced one is gone only after that."""
    if not out.exists():
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old / "replaced")
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _carry_out(
    spec: JobSpec, partial: Path, scratch: Path, options: RunOptions, phases: Phases
) -> None:
    """Every phase, into the empty folder `partial`."""
    recipe, device = spec.resolved_recipe, machine.device(options.device)
    machine.set_threads(options.threads)
    with phases.phase("fetching", 0.02, "reading model and text"):
        loaded = fetch(
            spec.model,
            spec.calibration,
            options,
            device,
            scratch,
            evaluation_samples=spec.evaluation.samples,
            to_prune=True,
            watch=phases.received,
        )
        journal, resumed = open_journal(loaded, spec, options, phases)
    budget = options.memory_budget or machine.default_budget(device)
    plan = kept_plan(journal, lambda: _plan(loaded, spec, budget))
    phases.planned(_forecast(plan, budget))
    loaded, writes = _written(loaded, spec, plan, journal, phases)
    # Before the long part: it refuses what does not fit the model.
    with phases.phase("analysing", 0.05, "sharing out sparsity"):
        targets = kept_targets(journal, lambda: share_out(loaded, spec, plan, phases))
    with phases.phase("analysing", 0.45 - writes, WATCHING):
        passage = KeptPassage(journal, "watched", device)
        folder = partial / "report"
        seen = watch_sinks(loaded, spec.sinks, recipe, plan, phases, passage, report=folder)
    with phases.phase("pruning", 0.1, "measuring inputs"):
        passage = KeptPassage(journal, "measured", device)
        statistics = measure(loaded, spec, recipe, plan, seen, phases, passage)
    model = partial / "model"
    with phases.phase("pruning", 0.1, f"pruning with {spec.method}"):
        blocks = FinishedBlocks(journal, recipe, len(loaded.decoder.blocks))
        finished = options.finished
        removed = prune_into(
            model, loaded, spec, recipe, plan, targets, statistics, finished, phases, blocks
        )
    checkpoint = Checkpoint(take_in(model))
    share = EVALUATING * judging_share(spec, loaded)
    with phases.phase("evaluating", share, "judging dense and pruned"):
        kept = DenseAnswers(options.answers, loaded.revision, scratch)
        judged = _judge(loaded, spec, checkpoint, plan, phases, kept)
    subject = Subject(loaded, spec, plan, targets, seen, checkpoint, judged)
    depth = look_deeper(subject, phases, EVALUATING - share)
    with phases.phase("publishing", 0.04, "writing the report"):
        outcome = Outcome(
            spec=spec,
            recipe=recipe,
            loaded=loaded,
            plan=plan,
            seen=seen,
            removed=removed,
            judged=judged,
            depth=depth,
            seconds=phases.seconds,
            peak_bytes=machine.peak_bytes(device),
            resumed=resumed,
        )
        write_folder(outcome, partial)
    phases.finish()


def _forecast(plan: Plan, budget: int) -> Forecast:
    return Forecast(
        peak_bytes=plan.peak_bytes,
        budget_bytes=budget,
        least_bytes=plan.least_bytes,
        group=plan.group,
        flops=plan.flops,
        seconds=plan.seconds,
    )


def _written(
    loaded: Loaded, spec: JobSpec, plan: Plan, journal: Journal, phases: Phases
) -> tuple[Loaded, float]:
    """With what the model writes in place of its prompts, where it is to write; and the share of the
    whole that this was."""
    begun, share = loaded.prepared.trajectories, 0.3
    if loaded.prepared.writing is None:
        return loaded, 0.0
    with phases.phase("analysing", share, WRITING):
        made = kept_trajectory(
            journal, begun, lambda: write_trajectory(loaded, spec.calibration, plan, phases)
        )
    return watched_on(loaded, made), share


def _plan(loaded: Loaded, spec: JobSpec, budget: int) -> Plan:
    samples, family = len(loaded.prepared.trajectories.clean), loaded.decoder.family
    baseline = spec.evaluation.baseline
    return plan_run(
        loaded,
        spec.resolved_recipe,
        budget,
        per_head=spec.sinks.per_head,
        evaluation_sequences=evaluate.sequences(spec.evaluation, loaded.prepared, family),
        probe_sequences=probe_sequences(spec.recipe.allocation, samples),
        texts=evaluate.texts(spec.evaluation, loaded.prepared),
        depth_sequences=sum(depth_sequences(spec, loaded).values()),
        baseline=None if baseline is None else METHODS[baseline],
    )


def _judge(
    loaded: Loaded,
    spec: JobSpec,
    pruned: Checkpoint,
    plan: Plan,
    phases: Phases,
    kept: DenseAnswers,
) -> Judged:
    return evaluate.judge_both(
        loaded.decoder,
        dense=loaded.checkpoint,
        pruned=pruned,
        prepared=loaded.prepared,
        spec=spec,
        group=plan.group,
        watch=phases.step,
        kept=kept,
    )
