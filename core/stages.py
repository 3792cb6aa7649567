"""The stages that runs are made of: load, plan, watch, prune. Nothing here writes a report."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch

from core import machine
from core.answers import NO_ANSWERS, Answers
from core.calibration.continuation import Written
from core.calibration.noise import Trajectories
from core.calibration.prepare import Prepared, prepare
from core.calibration.writing import write
from core.calibration_spec import Calibration
from core.crew import Watch
from core.errors import InvalidSpec
from core.evaluation import speed
from core.evaluation.prompts import texts_of
from core.filling import check_room
from core.hub_sources import HubSource
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.config import read_config
from core.models.decoder import Decoder, load
from core.models.families import Family
from core.models.intake import Intake, content_revision, take_in
from core.phases import Phases
from core.points import NO_POINTS, Points
from core.progress import Finished, keep_quiet
from core.pruning.engine import NONE_FINISHED, Pruned, prune
from core.pruning.engine import Finished as FinishedBlocks
from core.pruning.heads import HeadTally
from core.pruning.observe import (
    FROM_THE_START,
    Observation,
    Passage,
    Watched,
    measure_all_blocks,
    observe,
)
from core.pruning.plan import Plan, Workload, forward_flops, make_plan
from core.pruning.statistics import Statistic, statistic_of
from core.pruning.targets import Targets, make_targets
from core.pruning.workload import widest_inputs
from core.recipes import Recipe
from core.sinks.full_file import FULL_NAME, full_bytes, full_file
from core.sinks.watch import full_shapes
from core.sources import Allowed, ModelSource, Roots, model_source, text_source
from core.spec import JobSpec, ModelRef, Sinks
from core.texts import Downloads, opened
from core.trajectory_objections import UNWRITTEN


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and with what a run may work."""

    device: str = "auto"
    threads: int | None = None
    memory_budget: int | None = None
    model_roots: Roots = None
    source_buckets: tuple[str, ...] = ()
    """Where models and texts may be read: see `core.sources.Allowed`."""
    hub_models: tuple[str, ...] = ()
    max_model_bytes: int | None = None
    """Of a model that is downloaded; None sets no limit."""
    hub_cache: Path | None = None
    """Where downloads from a hub are kept; None keeps them no longer than the run."""
    replace: bool = False
    """Whether an existing output folder gives way once the new one is complete."""
    finished: Finished = keep_quiet
    """Told of each shard that is final while the run goes on; the folder's name changes later."""
    points: Points = NO_POINTS
    """Where a run keeps what it has finished, and finds what one before it had."""
    answers: Answers = NO_ANSWERS
    """Where runs on the same model keep what they found out about it for each other."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and what it is calibrated and judged on."""

    checkpoint: Checkpoint
    decoder: Decoder
    revision: str
    prepared: Prepared


@dataclass(slots=True)
class Removed:
    """What pruning took away."""

    heads: HeadTally
    matrices: dict[str, tuple[tuple[int, int], int]] = field(default_factory=dict)
    """Tensor name → (shape, removed)."""
    unreached: list[str] = field(default_factory=list)
    """Experts' matrices that no calibration token reached."""
    shares: tuple[float, ...] | None = None
    """Each block's share, where an allocation handed them out."""

    def add(self, pruned: Pruned, shape: tuple[int, int]) -> None:
        """Rows of one tensor that were pruned apart count together, under the tensor's `shape`."""
        name = pruned.matrix.name
        before = self.matrices.get(name, (shape, 0))[1]
        self.matrices[name] = shape, before + pruned.removed
        self.heads.add(pruned.matrix.block, pruned.matrix.role, pruned.heads)
        if not pruned.reached:
            self.unreached.append(name)


def fetch(
    model: ModelRef,
    calibration: Calibration,
    options: RunOptions,
    device: torch.device,
    scratch: Path,
    *,
    evaluation_samples: int,
    to_prune: bool,
    watch: Watch,
    adapt: Callable[[Calibration, Family], Calibration] | None = None,
) -> Loaded:
    """Read model and calibration source.

    What has to be downloaded goes below `scratch`, where it must stay as long as the model is used;
    `watch` is told of its bytes. A model that is neither `to_prune` nor judged, and
    writes nothing, comes without its head. `adapt` says what a model of its family is watched on, where
    that is not the spec's.
    """
    allowed = Allowed(options.model_roots, options.source_buckets, options.hub_models)
    wanted = text_source(calibration.source, allowed)
    found = model_source(model.source, allowed, model.revision)
    intake = _take_in(found, options, scratch, watch, copies=1 + to_prune)
    with opened(wanted, Downloads(scratch, options.hub_cache, watch)) as text:
        checkpoint = Checkpoint(intake)
        if to_prune:
            checkpoint.fetch_all()
        if adapt is not None:
            calibration = adapt(calibration, read_config(intake.folder)[0])
        writes = calibration.trajectory not in UNWRITTEN
        decoder = load(checkpoint, device, head=to_prune or writes or evaluation_samples > 0)
        family, dimensions = decoder.family, decoder.dimensions
        prepared = prepare(calibration, text, intake.folder, family, dimensions, evaluation_samples)
    return Loaded(checkpoint, decoder, content_revision(intake), prepared)


def _take_in(
    source: ModelSource, options: RunOptions, scratch: Path, watch: Watch, *, copies: int
) -> Intake:
    if isinstance(source, Path):
        return take_in(source)
    most = options.max_model_bytes
    if isinstance(source, HubSource):
        from core import hub_model  # noqa: PLC0415 - as below

        kept = options.hub_cache
        return hub_model.take_in(source, scratch, watch, copies=copies, most=most, kept=kept)
    # boto3 takes a second to load, which nobody with a local folder need wait for.
    from core import s3_model  # noqa: PLC0415

    return s3_model.take_in(source, scratch / "source", watch, copies=copies, most=most)


def _check_timesteps(recipe: Recipe, prepared: Prepared) -> None:
    """The spec saw to this where it draws the noise; a recorded trajectory is known only now."""
    if recipe.sinks == "discount-transient" and len(prepared.trajectories.timesteps) < 2:
        raise InvalidSpec(
            "discount-transient needs two timesteps, and the recorded trajectory has one.",
            remedy="Record more timesteps, or discount all sinks.",
        )


def plan_run(
    loaded: Loaded,
    recipe: Recipe,
    budget: int | None,
    *,
    per_head: bool = False,
    evaluation_sequences: int = 0,
    probe_sequences: int = 0,
    texts: int = 0,
    depth_sequences: int = 0,
    baseline: Recipe | None = None,
) -> Plan:
    """What the run will take, timed on one group of its own sequences."""
    decoder, prepared = loaded.decoder, loaded.prepared
    _check_timesteps(recipe, prepared)
    samples, timesteps, positions = prepared.trajectories.noised.shape
    weight_bytes, writing = decoder.weight_bytes, prepared.writing
    work = Workload(
        dimensions=decoder.dimensions,
        weight_bytes=weight_bytes,
        element_bytes=decoder.element_bytes,
        samples=samples,
        timesteps=timesteps,
        positions=positions,
        evaluation_sequences=evaluation_sequences,
        probe_sequences=probe_sequences,
        depth_sequences=depth_sequences,
        baseline=baseline,
        inputs=widest_inputs(decoder.family, decoder.dimensions),
        written=(
            *((Written(samples, writing.cost),) if writing else ()),
            *texts_of(decoder.family, prepared.evaluation.shape[1], texts),
        ),
        remembers=writing is not None and writing.sampler == "decoding",
        per_head=per_head,
    )
    plan = make_plan(
        work,
        recipe,
        device=decoder.device.type,
        baseline_bytes=machine.held_bytes(decoder.device) - weight_bytes,
        budget=budget or machine.default_budget(decoder.device),
    )
    ids = prepared.trajectories.noised[0, :1].expand(plan.group, -1)
    seconds = speed.forward_seconds(decoder, ids, perf_counter)
    return plan.timed(seconds / (plan.group * forward_flops(decoder.dimensions, positions)))


def write_trajectory(
    loaded: Loaded, calibration: Calibration, plan: Plan, phases: Phases
) -> Trajectories:
    """What the dense model makes of the prompts it is to be watched on."""
    writing = loaded.prepared.writing
    assert writing is not None
    return write(
        loaded.decoder,
        loaded.prepared.trajectories.clean,
        writing,
        calibration,
        group=plan.group,
        watch=phases.step,
    )


def watched_on(loaded: Loaded, trajectories: Trajectories) -> Loaded:
    """The same with `trajectories` instead of what was there before they were written."""
    return replace(loaded, prepared=replace(loaded.prepared, trajectories=trajectories))


def watch_sinks(
    loaded: Loaded,
    sinks: Sinks,
    recipe: Recipe,
    plan: Plan,
    phases: Phases,
    passage: Passage = FROM_THE_START,
    *,
    report: Path | None = None,
) -> Observation:
    """Attention on every timestep; with it the recipe's statistics, where the plan holds inputs.

    `report` is the folder that the full resolution is written into, where `sinks` asks for it.
    """
    decoder, trajectories = loaded.decoder, loaded.prepared.trajectories
    with ExitStack() as files:
        full = None
        if sinks.dump and report is not None:
            report.mkdir(exist_ok=True)
            shapes = full_shapes(trajectories, decoder.dimensions, sinks)
            check_room(report, full_bytes(shapes))
            full = files.enter_context(full_file(report / FULL_NAME, shapes))
        return observe(
            decoder,
            trajectories,
            sinks,
            held_for=recipe if plan.hold_inputs else None,
            group=plan.group,
            watch=phases.step,
            passage=passage,
            full=full,
        )


def measure(
    loaded: Loaded,
    spec: JobSpec,
    recipe: Recipe,
    plan: Plan,
    seen: Observation,
    phases: Phases,
    passage: Passage = FROM_THE_START,
) -> tuple[Mapping[str, Statistic], Watched | None]:
    """Statistics of all blocks, where they are taken at once; else what goes from block to block."""
    if recipe.score == "magnitude":
        return {}, None
    if seen.statistics:
        return seen.statistics, None
    watched = Watched.of(recipe, loaded.prepared.trajectories, seen.mass, spec.sinks)
    if not recipe.all_blocks_at_once:
        return {}, watched
    kind = statistic_of(recipe)
    found = measure_all_blocks(
        loaded.decoder, watched, kind, group=plan.group, watch=phases.step, passage=passage
    )
    return found, None


def share_out(loaded: Loaded, spec: JobSpec, plan: Plan, phases: Phases) -> Targets:
    """What each matrix has to lose."""
    clean = loaded.prepared.trajectories.clean
    return make_targets(loaded.decoder, spec, clean, group=plan.group, watch=phases.step)


def prune_into(
    folder: Path,
    loaded: Loaded,
    spec: JobSpec,
    recipe: Recipe,
    plan: Plan,
    targets: Targets,
    statistics: tuple[Mapping[str, Statistic], Watched | None],
    finished: Finished,
    phases: Phases,
    blocks: FinishedBlocks = NONE_FINISHED,
) -> Removed:
    """Prune the model in memory, and write the pruned checkpoint to the new `folder`."""
    folder.mkdir()
    to_come = [matrix.name for matrix in loaded.decoder.all_matrices()]
    writer = CheckpointWriter(loaded.checkpoint, folder, to_come, finished)
    removed = Removed(HeadTally(loaded.decoder.dimensions), shares=targets.shares)

    def keep(pruned: Pruned) -> None:
        matrix = pruned.matrix
        writer.replace(matrix.name, matrix.linear.weight, matrix.rows)
        rows, columns = loaded.checkpoint.places[matrix.name].shape
        removed.add(pruned, (rows, columns))

    found, watched = statistics
    prune(
        loaded.decoder,
        recipe,
        targets.patterns,
        damping=spec.recipe.damping,
        statistics=found,
        watched=watched,
        group=plan.group,
        keep=keep,
        watch=phases.step,
        finished=blocks,
    )
    return removed
