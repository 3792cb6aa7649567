"""From measurements to the parts of the report."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from core.calibration.noise import ProcessName
from core.calibration.prepare import Prepared
from core.calibration.text import TextTokenizer
from core.calibration_spec import Trajectory
from core.evaluation.generation import Texts, words
from core.evaluation.nelbo import Estimate, Judgement, NoisyTokens, agreement
from core.evaluation.speed import Timing
from core.recipes import Recipe
from core.report import meanings
from core.report.schema import (
    Agreement,
    CalibrationFacts,
    HeadSinks,
    LayerSinks,
    MatrixSparsity,
    Mean,
    Nelbo,
    PersistentPositions,
    SinkFacts,
    SparsityFacts,
    Speed,
    TextSample,
)
from core.sinks.moments import Moments
from core.sinks.statistics import STATISTICS
from core.sinks.totals import SinkTotals
from core.spec import RecipeSpec, Sinks


def sink_facts(
    totals: SinkTotals,
    timesteps: tuple[int, ...],
    positions: int,
    sinks: Sinks,
    *,
    trajectory: Trajectory | Literal["recorded"] = "forward-noise",
) -> SinkFacts:
    """The statistics of all samples, over all blocks together, for each, and for each head where they
    were told apart."""
    (every, *layers) = means_of(totals.blocks)
    steps, samples = len(timesteps), totals.samples
    return SinkFacts(
        trajectory=trajectory,
        samples=samples,
        timesteps=list(timesteps),
        positions=positions,
        threshold_std=sinks.threshold_std,
        **every,
        timesteps_without_sink=totals.without_sink,
        persistence_histogram=[
            PersistentPositions(share=times / steps, positions=count / samples)
            for times, count in enumerate(totals.persistence.tolist(), 1)
        ],
        per_layer=[
            LayerSinks(layer=layer, **_told_of(LayerSinks, found))
            for layer, found in enumerate(layers)
        ],
        per_head=None if totals.heads is None else _head_sinks(totals.heads),
    )


def _head_sinks(moments: Moments) -> list[HeadSinks]:
    heads = moments.count.shape[1]
    return [
        HeadSinks(layer=i // heads, head=i % heads, **_told_of(HeadSinks, found))
        for i, found in enumerate(means_of(moments))
    ]


def _told_of(part: type[BaseModel], found: dict[str, Mean]) -> dict[str, Any]:
    """Those statistics that this part of the report has."""
    return {name: mean for name, mean in found.items() if name in part.model_fields}


def means_of(moments: Moments) -> list[dict[str, Mean]]:
    """Of moments (…, statistics), each statistic's mean and standard error by its name."""
    width = len(STATISTICS)
    means, errors = (
        values.reshape(-1, width).tolist()
        for values in (moments.means(), moments.standard_errors())
    )
    return [
        {
            name: Mean(mean=_known(mean), stderr=_known(error))
            for name, mean, error in zip(STATISTICS, *pair, strict=True)
        }
        for pair in zip(means, errors, strict=True)
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def calibration_facts(
    source: str, prepared: Prepared, process: ProcessName, trajectory: Trajectory
) -> CalibrationFacts:
    """What was watched, from what the source turned out to be."""
    trajectories, present = prepared.trajectories, prepared.trajectories.present
    named = "recorded" if prepared.recorded else process
    return CalibrationFacts(
        source=source,
        revision=prepared.source_revision,
        process=named if trajectory == "forward-noise" else trajectory,
        replaces=process == "uniform" and trajectory == "forward-noise",
        timesteps=list(trajectories.timesteps),
        corrupted=trajectories.masked.double().mean((0, 2)).tolist(),
        weights=trajectories.weights.double().mean(0).tolist(),
        prompt_length=prepared.writing.prompt if prepared.writing else None,
        unwritten=None if present is None else (1 - present.double().mean((0, 2))).tolist(),
    )


def recipe_facts(recipe: Recipe, asked: RecipeSpec) -> dict[str, str | None]:
    """What was done, method by its columns, in words that a table can show."""
    facts: dict[str, str | None] = {
        "score": recipe.score,
        "inputs": recipe.inputs,
        "order": recipe.order,
        "sinks": recipe.sinks,
    }
    allocation = asked.allocation
    facts["allocation"] = allocation if isinstance(allocation, str) else "explicit"
    if allocation == "owl":
        facts["outlier_threshold"] = f"{asked.outlier_threshold:g}"
    if allocation in ("owl", "early-sparser", "sensitivity"):
        facts["allocation_spread"] = f"{asked.allocation_spread:g}"
    if recipe.score == "sparsegpt":
        facts["damping"] = f"{asked.damping:g}"
    return facts


def sparsity_facts(
    removed: dict[str, tuple[tuple[int, int], int]],
    shares: tuple[float, ...] | None = None,
    unreached: Sequence[str] = (),
    heads: list[list[float]] | None = None,
) -> SparsityFacts:
    """From tensor name → (shape, removed entries), each block's share if they differ, what no
    calibration token reached, and each head's share."""
    matrices = {
        name: MatrixSparsity(shape=shape, removed=count, fraction=count / (shape[0] * shape[1]))
        for name, (shape, count) in removed.items()
    }
    total = sum(m.shape[0] * m.shape[1] for m in matrices.values())
    return SparsityFacts(
        overall=sum(m.removed for m in matrices.values()) / total,
        matrices=matrices,
        blocks=None if shares is None else list(shares),
        unreached=list(unreached),
        heads=heads,
    )


def nelbo_facts(noisy: NoisyTokens, dense: Judgement, pruned: Judgement, text: str) -> Nelbo:
    """What pruning cost, on masks that both models saw."""
    one, other = Estimate.of(dense.nelbo), Estimate.of(pruned.nelbo)
    difference = Estimate.of(pruned.nelbo - dense.nelbo)
    return Nelbo(
        dense=one.mean,
        pruned=other.mean,
        difference=difference.mean,
        stderr=difference.stderr,
        dense_stderr=one.stderr,
        pruned_stderr=other.stderr,
        perplexity_bound_dense=math.exp(one.mean),
        perplexity_bound_pruned=math.exp(other.mean),
        tokens=noisy.clean.numel(),
        samples=len(noisy.clean),
        text=text,
    )


def agreement_facts(noisy: NoisyTokens, dense: Judgement, pruned: Judgement) -> Agreement:
    same = agreement(noisy, dense, pruned)
    return Agreement(top1=same.mean, stderr=same.stderr, positions=int(noisy.masked.sum()))


def text_samples(tokenizer: TextTokenizer, texts: Texts) -> list[TextSample]:
    return [
        TextSample(prompt=prompt, truth=truth, dense=dense, pruned=pruned)
        for prompt, truth, dense, pruned in words(tokenizer, texts)
    ]


def speed_facts(timing: Timing, pattern: str) -> Speed:
    return Speed(
        dense_seconds=timing.dense_seconds,
        pruned_seconds=timing.pruned_seconds,
        ratio=timing.dense_seconds / timing.pruned_seconds,
        runs=timing.runs,
        note=meanings.speed_note(pattern),
    )
