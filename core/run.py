"""One job from spec to finished folder: fetch → analyse → prune → evaluate → publish; or the first
two alone.

Knows no jobs table, no object store and no web: the command line and the worker's child process
both call `execute`, and the command line `analyse`.
"""

from pathlib import Path

from core import evaluate, machine
from core.dense import DenseAnswers
from core.depth import Subject, depth_sequences, judging_share, look_deeper
from core.evaluate import Judged
from core.journal import Journal
from core.looking import WATCHING, WRITING, analyse, watch_control
from core.models.checkpoint import Checkpoint
from core.models.intake import take_in
from core.outcome import Outcome, write_folder
from core.phases import Phases
from core.progress import Forecast, Report
from core.pruning.plan import Plan
from core.pruning.workload import probe_sequences
from core.recipes import METHODS
from core.resume import (
    FinishedBlocks,
    KeptPassage,
    kept_plan,
    kept_targets,
    kept_trajectory,
    open_journal,
)
from core.run_folder import new_folder, scratch_folder
from core.spec import JobSpec
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

__all__ = ["analyse", "execute"]

EVALUATING = 0.24
"""Of a whole run, about."""


def execute(spec: JobSpec, out: Path, options: RunOptions, report: Report) -> None:
    """Carry out `spec` into the new folder `out`: model/, report/ and manifest.json.

    `out` appears only when complete. `report` is called often and may raise Cancelled.

    Raises:
        OutputExists: `out` is there and `options.replace` is false.
        ModelError, DataError, BadRequest: the input cannot be used.
        OutOfMemory, DiskFull: the machine is too small; the message says what was needed.
    """
    with (
        new_folder(out, replace=options.replace) as partial,
        scratch_folder(partial.parent) as scratch,
    ):
        _carry_out(spec, partial, scratch, options, Phases(report))


def _carry_out(
    spec: JobSpec, partial: Path, scratch: Path, options: RunOptions, phases: Phases
) -> None:
    """Every phase, into the empty folder `partial`."""
    recipe, device = spec.resolved_recipe, machine.device(options.device)
    machine.set_threads(options.threads)
    control = watch_control(spec, scratch, options, phases)
    with phases.phase("fetching", 0.02, "reading model and text"):
        loaded = _read(spec, options, scratch, phases)
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
    pruned = Checkpoint(take_in(model))
    share = EVALUATING * judging_share(spec, loaded)
    with phases.phase("evaluating", share, "judging dense and pruned"):
        kept = DenseAnswers(options.answers, loaded.revision, scratch)
        judged = _judge(loaded, spec, pruned, plan, phases, kept)
    subject = Subject(loaded, spec, plan, targets, seen, pruned, judged)
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
            evaluation_seed=spec.evaluation.seed,
            seconds=phases.seconds,
            peak_bytes=machine.peak_bytes(device),
            resumed=resumed,
            control=control,
        )
        write_folder(outcome, partial)
    phases.finish()


def _read(spec: JobSpec, options: RunOptions, scratch: Path, phases: Phases) -> Loaded:
    return fetch(
        spec.model,
        spec.calibration,
        options,
        machine.device(options.device),
        scratch,
        evaluation_samples=spec.evaluation.samples,
        to_prune=True,
        watch=phases.received,
    )


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
