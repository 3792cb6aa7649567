"""From measurements to the parts of the report."""

import math
from collections.abc import Sequence

from torch import Tensor

from core.calibration.noise import ProcessName
from core.calibration.prepare import Prepared
from core.evaluation.nelbo import Estimate, Judgement, NoisyTokens, agreement
from core.evaluation.speed import Timing
from core.recipes import Recipe
from core.report import meanings
from core.report.schema import (
    Agreement,
    CalibrationFacts,
    LayerSinks,
    MatrixSparsity,
    Mean,
    Nelbo,
    SinkFacts,
    SparsityFacts,
    Speed,
)
from core.sinks.statistics import SinkDynamics, summarise
from core.spec import RecipeSpec, Sinks


def mean_of(values: Tensor) -> Mean:
    mean, stderr = summarise(values)
    return Mean(mean=mean, stderr=stderr)


def sink_facts(
    mass: Tensor,
    masked: Tensor,
    timesteps: tuple[int, ...],
    sinks: Sinks,
    *,
    recorded: bool = False,
) -> tuple[SinkFacts, SinkDynamics]:
    """Statistics of mass (samples, timesteps, blocks, positions) and masked (samples, timesteps,
    positions), over all blocks together and for each."""
    dynamics = SinkDynamics.of(mass.sum(2), sinks.threshold_std)
    stable = dynamics.stable_share(sinks.stable_persistence)
    facts = SinkFacts(
        trajectory="recorded" if recorded else "forward-noise",
        samples=mass.shape[0],
        timesteps=list(timesteps),
        positions=mass.shape[-1],
        threshold_std=sinks.threshold_std,
        spatial_variance=mean_of(dynamics.spatial_variance()),
        temporal_variance=mean_of(dynamics.temporal_variance()),
        temporal_variance_relative=mean_of(dynamics.temporal_variance_relative()),
        transient_share=mean_of(1 - stable),
        stable_share=mean_of(stable),
        mass_share=mean_of(dynamics.mass_share()),
        jaccard=mean_of(dynamics.jaccard()),
        masked_share=mean_of(dynamics.masked_share(masked)),
        sinks_per_step=mean_of(dynamics.sinks_per_step()),
        timesteps_without_sink=dynamics.timesteps_without_sink(),
        per_layer=[
            _layer_sinks(layer, SinkDynamics.of(mass[:, :, layer], sinks.threshold_std))
            for layer in range(mass.shape[2])
        ],
    )
    return facts, dynamics


def _layer_sinks(layer: int, dynamics: SinkDynamics) -> LayerSinks:
    return LayerSinks(
        layer=layer,
        spatial_variance=mean_of(dynamics.spatial_variance()),
        temporal_variance=mean_of(dynamics.temporal_variance()),
        temporal_variance_relative=mean_of(dynamics.temporal_variance_relative()),
        mass_share=mean_of(dynamics.mass_share()),
    )


def calibration_facts(source: str, prepared: Prepared, process: ProcessName) -> CalibrationFacts:
    """What was watched, from what the source turned out to be."""
    trajectories = prepared.trajectories
    return CalibrationFacts(
        source=source,
        revision=prepared.source_revision,
        process="recorded" if prepared.recorded else process,
        replaces=process == "uniform",
        timesteps=list(trajectories.timesteps),
        corrupted=trajectories.masked.double().mean((0, 2)).tolist(),
        weights=trajectories.weights.double().mean(0).tolist(),
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


def speed_facts(timing: Timing, pattern: str) -> Speed:
    return Speed(
        dense_seconds=timing.dense_seconds,
        pruned_seconds=timing.pruned_seconds,
        ratio=timing.dense_seconds / timing.pruned_seconds,
        runs=timing.runs,
        note=meanings.speed_note(pattern),
    )
