"""One job from spec to finished folder: fetch → analyse → prune → evaluate → publish.

Knows no jobs table, no object store and no web: the command line and the worker's child process
both call `execute`.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from core import evaluate, machine
from core.errors import DiskFull, OutOfMemory, OutputExists
from core.models.checkpoint import Checkpoint
from core.models.intake import take_in
from core.outcome import Outcome, write_folder
from core.phases import Phases
from core.progress import Report
from core.spec import JobSpec
from core.stages import (
    RunOptions,
    fetch,
    measure,
    plan_run,
    prune_into,
    share_out,
    watch_sinks,
)


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
            _carry_out(spec, partial, options, Phases(report))
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


def _carry_out(spec: JobSpec, partial: Path, options: RunOptions, phases: Phases) -> None:
    """Every phase, into the empty folder `partial`."""
    recipe, device = spec.resolved_recipe, machine.device(options.device)
    machine.set_threads(options.threads)
    with phases.phase("fetching", 0.02, "reading the model"):
        loaded = fetch(spec, options, device, partial)
    plan = plan_run(loaded, spec, recipe, options.memory_budget)
    with phases.phase("analysing", 0.45, "watching attention over the trajectory"):
        seen = watch_sinks(loaded, spec, recipe, plan, phases)
    with phases.phase("analysing", 0.05, "sharing out sparsity"):
        targets = share_out(loaded, spec, plan, phases)
    with phases.phase("pruning", 0.1, "measuring inputs"):
        statistics = measure(loaded, spec, recipe, plan, seen, phases)
    model = partial / "model"
    with phases.phase("pruning", 0.1, f"pruning with {spec.method}"):
        removed = prune_into(model, loaded, spec, recipe, plan, targets, statistics, phases)
    with phases.phase("evaluating", 0.24, "judging dense and pruned"):
        judged = evaluate.judge_both(
            loaded.decoder,
            dense=loaded.checkpoint,
            pruned=Checkpoint(take_in(model)),
            prepared=loaded.prepared,
            spec=spec,
            group=plan.group,
            watch=phases.step,
        )
    with phases.phase("publishing", 0.04, "writing the report"):
        outcome = Outcome(
            spec=spec,
            recipe=recipe,
            loaded=loaded,
            plan=plan,
            seen=seen,
            removed=removed,
            judged=judged,
            seconds=phases.seconds,
            peak_bytes=machine.peak_bytes(device),
        )
        write_folder(outcome, partial)
    phases.finish()
