"""One job from spec to finished folder: fetch → analyse → prune → evaluate → publish.

Knows no jobs table, no object store and no web: the command line and the worker's child process
both call `execute`.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter

import torch

from core import evaluate, machine
from core.calibration.prepare import Prepared, prepare
from core.errors import DiskFull, OutOfMemory, OutputExists
from core.evaluation import speed
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.decoder import Decoder, load
from core.models.intake import content_revision, take_in
from core.outcome import Outcome, write_folder
from core.progress import Phase, Progress, Report
from core.pruning.engine import Pruned, prune
from core.pruning.observe import Observation, observe
from core.pruning.plan import Plan, Workload, forward_flops, make_plan
from core.pruning.recipes import Recipe
from core.sources import Roots, model_folder, text_path
from core.spec import JobSpec


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and with what a run may work."""

    device: str = "auto"
    threads: int | None = None
    memory_budget: int | None = None
    model_roots: Roots = None
    replace: bool = False
    """Whether an existing output folder gives way once the new one is complete."""


def execute(spec: JobSpec, out: Path, options: RunOptions, report: Report) -> None:
    """Carry out `spec` into the new folder `out`: model/, report/ and manifest.json.

    `out` appears only when complete. `report` is called often and may raise Cancelled.

    Raises:
        OutputExists: `out` is there and `options.replace` is false.
        ModelError, DataError, BadRequest: the input cannot be used.
        OutOfMemory, DiskFull: the machine is too small; the message says what was needed.
    """
    out = out.absolute()
    if out.exists() and not options.replace:
        raise OutputExists(f"{out} exists.", remedy="Choose another folder or pass --force.")
    with _named_exhaustion(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            partial.chmod(0o755)
            _Run(spec, partial, options, report).carry_out()
            _put_in_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _named_exhaustion(out: Path) -> Iterator[None]:
    """Full disks and memories under names of ours, whatever library met them first."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space left on the device of {out}.", remedy="Free space, or write elsewhere."
            ) from error
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(
            f"memory ran out: {error}.", remedy="Lower the memory budget, so that groups shrink."
        ) from error
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise OutOfMemory(
                "memory ran out.", remedy="Lower the memory budget, so that groups shrink."
            ) from error
        raise


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to its name; a replaced one is gone only after that."""
    if not out.exists():
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old / "replaced")
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class _Run:
    """The state of one run, phase by phase."""

    def __init__(self, spec: JobSpec, partial: Path, options: RunOptions, report: Report) -> None:
        self.spec, self.partial, self.options = spec, partial, options
        self.recipe = Recipe.of(spec)
        self.device = machine.device(options.device)
        machine.set_threads(options.threads)
        self.progress = _Phases(report)

    def carry_out(self) -> None:
        with self.progress.phase("fetching", 0.02, "reading the model"):
            source = model_folder(self.spec.model.source, self.options.model_roots)
            checkpoint = Checkpoint(take_in(source))
            decoder = load(checkpoint, self.device)
            revision = content_revision(checkpoint.intake)
            prepared = self._prepare(decoder, source)
        plan = self._plan(decoder, prepared)
        with self.progress.phase("analysing", 0.5, "watching attention over the trajectory"):
            seen = self._observe(decoder, prepared, plan)
        with self.progress.phase("pruning", 0.2, f"pruning with {self.spec.method}"):
            removed = self._prune(decoder, checkpoint, prepared, plan, seen)
        with self.progress.phase("evaluating", 0.24, "judging dense and pruned"):
            judged = evaluate.judge_both(
                decoder,
                dense=checkpoint,
                pruned=Checkpoint(take_in(self.partial / "model")),
                prepared=prepared,
                spec=self.spec,
                group=plan.group,
                watch=self.progress.step,
            )
        with self.progress.phase("publishing", 0.04, "writing the report"):
            outcome = Outcome(
                spec=self.spec,
                recipe=self.recipe,
                revision=revision,
                decoder=decoder,
                prepared=prepared,
                plan=plan,
                seen=seen,
                removed=removed,
                judged=judged,
                left_out=checkpoint.intake.left_out,
                seconds=self.progress.seconds,
                peak_bytes=machine.peak_bytes(self.device),
            )
            write_folder(outcome, self.partial)
        self.progress.finish()

    def _prepare(self, decoder: Decoder, source: Path) -> Prepared:
        calibration = self.spec.calibration
        return prepare(
            calibration,
            text_path(calibration.source, self.options.model_roots),
            source,
            decoder.dimensions,
            self.spec.evaluation.samples,
        )

    def _plan(self, decoder: Decoder, prepared: Prepared) -> Plan:
        samples, timesteps, positions = prepared.trajectories.noised.shape
        weight_bytes = decoder.weight_bytes
        work = Workload(
            dimensions=decoder.dimensions,
            weight_bytes=weight_bytes,
            element_bytes=decoder.element_bytes,
            samples=samples,
            timesteps=timesteps,
            positions=positions,
            evaluation_sequences=evaluate.sequences(self.spec.evaluation, prepared, decoder.family),
        )
        plan = make_plan(
            work,
            self.recipe,
            device=self.device.type,
            baseline_bytes=machine.held_bytes(self.device) - weight_bytes,
            budget=self.options.memory_budget or machine.default_budget(self.device),
        )
        ids = prepared.trajectories.noised[0, :1].expand(plan.group, -1)
        seconds = speed.forward_seconds(decoder, ids, perf_counter)
        flops = plan.group * forward_flops(decoder.dimensions, positions)
        return plan.timed(seconds / flops)

    def _observe(self, decoder: Decoder, prepared: Prepared, plan: Plan) -> Observation:
        return observe(
            decoder,
            prepared.trajectories,
            self.spec.sinks,
            with_norms=self.recipe.one_shot,
            hold_inputs=plan.hold_inputs,
            group=plan.group,
            watch=self.progress.step,
        )

    def _prune(
        self,
        decoder: Decoder,
        checkpoint: Checkpoint,
        prepared: Prepared,
        plan: Plan,
        seen: Observation,
    ) -> dict[str, tuple[tuple[int, int], int]]:
        """Tensor name → (shape, removed); the pruned checkpoint is on disk afterwards."""
        (self.partial / "model").mkdir()
        writer = CheckpointWriter(checkpoint, self.partial / "model")
        removed = {}

        def keep(pruned: Pruned) -> None:
            weight = pruned.matrix.linear.weight
            writer.replace(pruned.matrix.name, weight, pruned.matrix.rows)
            removed[pruned.matrix.name] = ((weight.shape[0], weight.shape[1]), pruned.removed)

        prune(
            decoder,
            self.recipe,
            self.spec.sparsity,
            norms=seen.norms,
            clean=prepared.trajectories.clean,
            group=plan.group,
            keep=keep,
            watch=self.progress.step,
        )
        return removed


class _Phases:
    """Turns steps within phases into one fraction that only grows, and takes the time of each."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun, self._share = 0.0, 0.0
        self._phase: Phase = "fetching"
        self._message = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: Phase, share: float, message: str) -> Iterator[None]:
        self._phase, self._share, self._message = name, share, message
        self._report(Progress(name, self._begun, message))
        began = monotonic()
        yield
        self.seconds[name] = monotonic() - began
        self._begun += share

    def step(self, done: int, of: int) -> None:
        fraction = self._begun + self._share * done / of
        self._report(Progress(self._phase, min(fraction, 1.0), f"{self._message} ({done}/{of})"))

    def finish(self) -> None:
        self._report(Progress(self._phase, 1.0, "done"))
