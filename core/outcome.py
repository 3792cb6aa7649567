"""A finished run as files: report, sinks, model card, manifest."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from core.evaluate import Judged
from core.pruning.observe import Observation
from core.pruning.plan import Plan, forward_flops
from core.recipes import Recipe
from core.report import build, card, facts, sinks_file
from core.report.schema import Cost, ModelFacts, Quality, Report
from core.sinks.statistics import SinkDynamics
from core.spec import JobSpec
from core.stages import Loaded, Removed
from core.store import manifest

PACKAGES = ("secateur", "torch", "transformers", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a run measured."""

    spec: JobSpec
    recipe: Recipe
    loaded: Loaded
    plan: Plan
    seen: Observation
    removed: Removed
    judged: Judged
    seconds: dict[str, float]
    peak_bytes: int


def write_folder(outcome: Outcome, folder: Path) -> None:
    """Write report/, the model card and, last, manifest.json beside the finished model/."""
    report, dynamics = make_report(outcome)
    (folder / "report").mkdir()
    trajectories = outcome.loaded.prepared.trajectories
    arrays = sinks_file.SinkArrays.make(
        mass=outcome.seen.mass.numpy(),
        masked=trajectories.masked.numpy(),
        timesteps=trajectories.timesteps,
        centroid=dynamics.centroid.numpy(),
        sink=dynamics.sinks.numpy(),
        persistence=dynamics.persistence.numpy(),
    )
    sinks_file.write(folder / "report" / "sinks.safetensors", arrays)
    build.write(report, arrays, folder / "report")
    _put_card(report, folder / "model")
    manifest.write(
        manifest.build(
            folder,
            spec=report.job,
            revision=report.model.revision,
            versions=report.versions,
            seeds=report.seeds,
        ),
        folder,
    )


def _put_card(report: Report, model: Path) -> None:
    """The card takes the name README.md; one that came with the model stays beside it."""
    readme = model / "README.md"
    if readme.exists():
        readme.rename(model / "README.original.md")
    readme.write_text(card.model_card(report), encoding="utf-8")


def make_report(outcome: Outcome) -> tuple[Report, SinkDynamics]:
    """The document, and the sink dynamics that its plots are drawn from."""
    spec, judged, plan = outcome.spec, outcome.judged, outcome.plan
    trajectories = outcome.loaded.prepared.trajectories
    sinks, dynamics = facts.sink_facts(
        outcome.seen.mass, trajectories.masked, trajectories.timesteps, spec.sinks
    )
    report = Report(
        job=spec.model_dump(mode="json"),
        model=_model_facts(outcome),
        recipe=facts.recipe_facts(outcome.recipe, spec.recipe),
        plan=Cost(
            peak_bytes=plan.peak_bytes,
            seconds=plan.seconds,
            flops=plan.flops,
            forwards=plan.forwards,
        ),
        actual=_actual(outcome),
        sparsity=facts.sparsity_facts(outcome.removed.matrices, outcome.removed.shares),
        sinks=sinks,
        quality=_quality(outcome),
        speed=facts.speed_facts(judged.timing) if judged.timing else None,
        versions={"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        seeds={"calibration": spec.calibration.seed, "evaluation": spec.evaluation.seed},
        warnings=_warnings(outcome),
    )
    return report, dynamics


def _actual(outcome: Outcome) -> Cost:
    decoder = outcome.loaded.decoder
    forwards = decoder.block_sequences / decoder.dimensions.blocks
    positions = outcome.loaded.prepared.trajectories.clean.shape[1]
    return Cost(
        peak_bytes=outcome.peak_bytes,
        seconds=sum(outcome.seconds.values()),
        flops=forwards * forward_flops(decoder.dimensions, positions) + outcome.plan.solver_flops,
        forwards=round(forwards),
        seconds_by_phase=outcome.seconds,
    )


def _model_facts(outcome: Outcome) -> ModelFacts:
    decoder, dimensions = outcome.loaded.decoder, outcome.loaded.decoder.dimensions
    return ModelFacts(
        source=outcome.spec.model.source,
        revision=outcome.loaded.revision,
        family=decoder.family.name,
        parameters=decoder.parameters,
        blocks=dimensions.blocks,
        heads=dimensions.heads,
        context=dimensions.context,
    )


def _quality(outcome: Outcome) -> Quality:
    asked, judged = outcome.spec.evaluation, outcome.judged
    noisy, dense, pruned = judged.noisy, judged.dense, judged.pruned
    if noisy is None or dense is None or pruned is None:
        return Quality(nelbo=None, agreement=None)
    text = outcome.loaded.prepared.evaluation_text
    return Quality(
        nelbo=facts.nelbo_facts(noisy, dense, pruned, text) if asked.nelbo else None,
        agreement=facts.agreement_facts(noisy, dense, pruned) if asked.agreement else None,
    )


def _warnings(outcome: Outcome) -> list[str]:
    warnings = list(outcome.loaded.prepared.warnings)
    left_out = outcome.loaded.checkpoint.intake.left_out
    if left_out:
        names = ", ".join(file.as_posix() for file in left_out)
        warnings.append(f"other copies of the dense weights were left out: {names}")
    if outcome.recipe.norms_with_mass and not outcome.plan.hold_inputs:
        warnings.append(
            "inputs did not fit the memory budget: each calibration sequence was run twice"
        )
    unreached = outcome.removed.unreached
    if unreached:
        warnings.append(
            f"{len(unreached)} expert matrices were reached by no calibration token and pruned by "
            f"magnitude, the first is {unreached[0]}; more calibration text would reach more"
        )
    return warnings
