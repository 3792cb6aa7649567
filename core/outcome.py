"""A finished run as files: report, sinks, model card, manifest."""

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.analysis_spec import AnalysisSpec
from core.depth import Depth
from core.depth_parts import depth_parts, knockout_part
from core.evaluate import Judged
from core.evaluation.in_depth import Condition
from core.evaluation.knockout import KnockedOut
from core.pruning.observe import Observation
from core.pruning.plan import Plan, forward_flops
from core.recipes import Recipe
from core.report import build, card, depth_facts, facts, sinks_file
from core.report.quality_parts import Knockout
from core.report.schema import (
    AnalysisReport,
    AnyReport,
    Control,
    Cost,
    ModelFacts,
    Quality,
    Report,
    Resumed,
)
from core.report.sinks_file import SinkArrays
from core.sinks.kept import PATHS
from core.sinks.statistics import SinkDynamics
from core.spec import JobSpec
from core.stages import Loaded, Removed
from core.store import manifest

PACKAGES = ("secateur", "torch", "transformers", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Analysed:
    """What a run measured that only watched."""

    spec: JobSpec | AnalysisSpec
    loaded: Loaded
    plan: Plan
    seen: Observation
    seconds: dict[str, float]
    peak_bytes: int
    knockout: dict[Condition, KnockedOut] | None = field(default=None, kw_only=True)
    evaluation_seed: int = field(kw_only=True)
    """Of the noise under which sinks were knocked out."""


@dataclass(frozen=True, slots=True)
class Controlled:
    """Another model on the same text, and the arrays that it is drawn from."""

    facts: Control
    arrays: SinkArrays


@dataclass(frozen=True, slots=True)
class Outcome(Analysed):
    """Everything a run measured that pruned."""

    spec: JobSpec
    recipe: Recipe
    removed: Removed
    judged: Judged
    depth: Depth
    resumed: Resumed | None = None
    control: Controlled | None = None


def write_folder(outcome: Outcome, folder: Path) -> None:
    """Write report/, the model card and, last, manifest.json beside the finished model/."""
    report, arrays = make_report(outcome)
    _put_card(report, folder / "model")
    write_report(report, arrays, folder, outcome.control)


def write_report(
    report: AnyReport, arrays: SinkArrays, folder: Path, control: Controlled | None = None
) -> None:
    """Write report/ and, last, the manifest of everything in `folder`."""
    (folder / "report").mkdir(exist_ok=True)
    sinks_file.write(folder / "report" / "sinks.safetensors", arrays)
    other = None if control is None else control.arrays
    if other is not None:
        sinks_file.write(folder / "report" / "control.safetensors", other)
    build.write(report, arrays, folder / "report", other)
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


def make_report(outcome: Outcome) -> tuple[Report, SinkArrays]:
    """The document, and the arrays that its plots are drawn from."""
    spec, judged, removed = outcome.spec, outcome.judged, outcome.removed
    shared, arrays = _shared_parts(outcome)
    report = Report(
        **shared,
        control=None if outcome.control is None else outcome.control.facts,
        recipe=facts.recipe_facts(outcome.recipe, spec.recipe),
        sparsity=facts.sparsity_facts(
            removed.matrices, removed.shares, removed.unreached, removed.heads.fractions()
        ),
        quality=_quality(outcome),
        speed=facts.speed_facts(judged.timing, spec.pattern) if judged.timing else None,
        resumed=outcome.resumed,
        dense_reused=judged.dense_origin,
        seeds={"calibration": spec.calibration.seed, "evaluation": spec.evaluation.seed},
        warnings=_warnings(outcome),
    )
    return report, arrays


def control_of(analysed: Analysed) -> Controlled:
    """What a report says of a model that stands beside another."""
    shared, arrays = _shared_parts(analysed)
    facts = {name: shared[name] for name in ("model", "calibration", "sinks")}
    return Controlled(Control(**facts, knockout=_hidden_sinks(analysed)), arrays)


def _hidden_sinks(analysed: Analysed) -> Knockout | None:
    found = analysed.knockout
    if found is None:
        return None
    return knockout_part(analysed.loaded, analysed.spec, analysed.evaluation_seed, found)


def analysis_report(
    analysed: Analysed, control: Controlled | None = None
) -> tuple[AnalysisReport, SinkArrays]:
    """The document of a run that only watched, and the arrays that its plots are drawn from."""
    shared, arrays = _shared_parts(analysed)
    seeds = {"calibration": analysed.spec.calibration.seed}
    if analysed.knockout is not None:
        seeds["evaluation"] = analysed.evaluation_seed
    report = AnalysisReport(
        **shared,
        control=None if control is None else control.facts,
        knockout=_hidden_sinks(analysed),
        seeds=seeds,
        warnings=list(analysed.loaded.prepared.warnings),
    )
    return report, arrays


def _shared_parts(run: Analysed) -> tuple[dict[str, Any], SinkArrays]:
    """What both kinds of report have."""
    spec, plan, prepared = run.spec, run.plan, run.loaded.prepared
    trajectories = prepared.trajectories
    sinks = facts.sink_facts(
        run.seen.totals,
        trajectories.timesteps,
        trajectories.clean.shape[1],
        spec.sinks,
        trajectory="recorded" if prepared.recorded else spec.calibration.trajectory,
    )
    parts = {
        "job": spec.model_dump(mode="json"),
        "model": _model_facts(run),
        "calibration": facts.calibration_facts(
            spec.calibration.source,
            prepared,
            run.loaded.decoder.family.process,
            spec.calibration.trajectory,
        ),
        "plan": Cost(
            peak_bytes=plan.peak_bytes,
            seconds=plan.seconds,
            flops=plan.flops,
            forwards=plan.forwards,
        ),
        "actual": _actual(run),
        "sinks": sinks,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
    }
    return parts, _arrays(run)


def _arrays(run: Analysed) -> SinkArrays:
    """What the plots are drawn from: of the samples whose mass was kept, and the centroids of some
    more."""
    seen, trajectories = run.seen, run.loaded.prepared.trajectories
    kept, present = len(seen.kept), trajectories.present
    every = [
        SinkDynamics.of(mass, run.spec.sinks.threshold_std, None if present is None else present[n])
        for n, mass in enumerate(seen.mass[: max(kept, PATHS)])
    ]
    return SinkArrays.make(
        mass=seen.kept.numpy(),
        masked=trajectories.masked[:kept].numpy(),
        timesteps=trajectories.timesteps,
        centroid=np.stack([each.centroid.numpy() for each in every]),
        sink=np.stack([each.sinks.numpy() for each in every[:kept]]),
        persistence=np.stack([each.persistence.numpy() for each in every[:kept]]),
    )


def _actual(run: Analysed) -> Cost:
    decoder = run.loaded.decoder
    forwards = decoder.block_sequences / decoder.dimensions.blocks
    positions, plan = run.loaded.prepared.trajectories.clean.shape[1], run.plan
    # What was written had other lengths, which the plan knows exactly.
    whole = (forwards - plan.written_forwards) * forward_flops(decoder.dimensions, positions)
    return Cost(
        peak_bytes=run.peak_bytes,
        seconds=sum(run.seconds.values()),
        flops=whole + plan.written_flops + plan.solver_flops,
        forwards=round(forwards),
        seconds_by_phase=run.seconds,
    )


def _model_facts(run: Analysed) -> ModelFacts:
    decoder, dimensions = run.loaded.decoder, run.loaded.decoder.dimensions
    experts = dimensions.experts
    return ModelFacts(
        source=run.spec.model.source,
        revision=run.loaded.revision,
        family=decoder.family.name,
        attention=decoder.family.attention,
        parameters=decoder.parameters,
        blocks=dimensions.blocks,
        heads=dimensions.heads,
        context=dimensions.context,
        experts=experts.count if experts else 0,
        active_experts=experts.active if experts else 0,
    )


def _quality(outcome: Outcome) -> Quality:
    asked, judged = outcome.spec.evaluation, outcome.judged
    objective = outcome.loaded.decoder.family.objective
    deeper = depth_parts(outcome.depth, outcome.loaded, outcome.spec, judged)
    noisy, dense, pruned = judged.noisy, judged.dense, judged.pruned
    tokenizer, texts = outcome.loaded.prepared.tokenizer, []
    if tokenizer is not None and judged.texts is not None:
        texts = facts.text_samples(tokenizer, judged.texts)
    if noisy is None or dense is None or pruned is None:
        return Quality(objective=objective, nelbo=None, agreement=None, texts=texts, **deeper)
    text = outcome.loaded.prepared.evaluation_text
    return Quality(
        texts=texts,
        objective=objective,
        nelbo=facts.nelbo_facts(noisy, dense, pruned, text) if asked.nelbo else None,
        agreement=facts.agreement_facts(noisy, dense, pruned) if asked.agreement else None,
        bands=depth_facts.band_facts(noisy, dense, pruned) if asked.nelbo else [],
        **deeper,
    )


def _warnings(outcome: Outcome) -> list[str]:
    warnings = list(outcome.loaded.prepared.warnings)
    left_out = outcome.loaded.checkpoint.intake.left_out
    if left_out:
        names = ", ".join(file.as_posix() for file in left_out)
        warnings.append(f"other copies of the dense weights were left out: {names}")
    if outcome.spec.evaluation.texts and outcome.loaded.prepared.tokenizer is None:
        warnings.append(
            "no texts were written side by side: the model has no tokenizer to read them with"
        )
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
