"""A model watched and not pruned: fetch → analyse, for itself or beside another."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from core import machine
from core.analysis_spec import AnalysisSpec
from core.calibration.token_file import write_token_file
from core.calibration_spec import Calibration
from core.control import for_control
from core.depth import HIDING, hidden_sequences, hide_sinks
from core.errors import BadRequest, OutputExists
from core.models.families import Family
from core.outcome import Analysed, Controlled, analysis_report, control_of, write_report
from core.phases import Phases
from core.progress import Report
from core.recipes import METHODS
from core.report.schema import AnalysisReport
from core.run_folder import exhaustion_named, new_folder, scratch_folder
from core.spec import Evaluation, JobSpec
from core.stages import (
    Loaded,
    RunOptions,
    fetch,
    plan_run,
    watch_sinks,
    watched_on,
    write_trajectory,
)

WATCHING = "watching attention over the trajectory"
WRITING = "writing the trajectory"
ANALYSING = 0.9
"""Of a whole analysis."""
CONTROL = 0.4
"""Of a whole run, for the model that stands beside."""

Adapt = Callable[[Calibration, Family], Calibration]
"""What a model of the family is watched on where the spec says so."""


def _as_it_is(calibration: Calibration, family: Family) -> Calibration:  # noqa: ARG001 - an `Adapt`
    return calibration


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
    place = nullcontext() if out is None else new_folder(out, replace=options.replace)
    with (
        exhaustion_named(out or Path(tempfile.gettempdir())),
        place as partial,
        scratch_folder(partial and partial.parent) as scratch,
    ):
        control = watch_control(spec, scratch, options, phases)
        analysed = look(
            spec, scratch, options, phases, partial and partial / "report", Evaluation()
        )
        with phases.phase("publishing", 0.05, "writing the report"):
            found, arrays = analysis_report(analysed, control)
            if partial is not None:
                write_report(found, arrays, partial, control)
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


def look(
    spec: AnalysisSpec,
    scratch: Path,
    options: RunOptions,
    phases: Phases,
    folder: Path | None,
    evaluation: Evaluation,
    adapt: Adapt = _as_it_is,
) -> Analysed:
    """The first phases of a run, with a recipe that reads no inputs; what is too large to be held
    goes into the report's `folder`. Sinks are knocked out on the text that `evaluation` names."""
    recipe, device = METHODS["magnitude"], machine.device(options.device)
    machine.set_threads(options.threads)
    with phases.phase("fetching", 0.05, "reading model and text"):
        loaded = fetch(
            spec.model,
            spec.calibration,
            options,
            device,
            scratch,
            evaluation_samples=evaluation.samples if spec.knockout else 0,
            to_prune=False,
            watch=phases.received,
            adapt=adapt,
        )
    calibration = adapt(spec.calibration, loaded.decoder.family)
    hidden = hidden_sequences(loaded) if spec.knockout else 0
    budget, per_head = options.memory_budget, spec.sinks.per_head
    plan = plan_run(loaded, recipe, budget, per_head=per_head, depth_sequences=hidden)
    share = ANALYSING * (plan.forwards - hidden) / plan.forwards
    writes = 0.7 * share if loaded.prepared.writing else 0.0
    if writes:
        with phases.phase("analysing", writes, WRITING):
            written = write_trajectory(loaded, calibration, plan, phases)
            loaded = watched_on(loaded, written)
    with phases.phase("analysing", share - writes, WATCHING):
        seen = watch_sinks(loaded, spec.sinks, recipe, plan, phases, report=folder)
    knockout = None
    if spec.knockout:
        with phases.phase("analysing", ANALYSING - share, HIDING):
            knockout = hide_sinks(loaded, spec, evaluation.seed, plan.group, phases)
    return Analysed(
        spec=spec.model_copy(update={"calibration": calibration}),
        loaded=loaded,
        plan=plan,
        seen=seen,
        knockout=knockout,
        evaluation_seed=evaluation.seed,
        seconds=phases.seconds,
        peak_bytes=machine.peak_bytes(device),
    )


def watch_control(
    spec: JobSpec | AnalysisSpec, scratch: Path, options: RunOptions, phases: Phases
) -> Controlled | None:
    """The model that the spec names to stand beside, watched on the same text; None where it names
    none. It is gone from memory when the other is loaded."""
    if spec.control is None:
        return None
    plain = spec.sinks.model_copy(update={"per_head": False, "dump": False})
    evaluation = Evaluation() if isinstance(spec, AnalysisSpec) else spec.evaluation
    knockout = spec.knockout if isinstance(spec, AnalysisSpec) else evaluation.knockout
    asked = AnalysisSpec(
        model=spec.control, calibration=spec.calibration, sinks=plain, knockout=knockout
    )
    below = scratch / "control"
    below.mkdir()
    phases.scale = CONTROL
    found = control_of(look(asked, below, options, phases, None, evaluation, for_control))
    phases.scale = 1 - CONTROL
    return found
