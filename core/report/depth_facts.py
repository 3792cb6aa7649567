"""From looks that go deeper than one loss to the parts of the report."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from core.evaluation import bands
from core.evaluation.block_errors import BlockErrors
from core.evaluation.in_depth import CONDITIONS, Condition
from core.evaluation.knockout import KnockedOut
from core.evaluation.mask_difference import MaskDifference
from core.evaluation.nelbo import Judgement, NoisyTokens
from core.evaluation.sinks_after import SinksAfter as WatchedAfter
from core.evaluation.sinks_after import SinkShift as MeasuredShift
from core.recipes import METHODS, Method
from core.report.facts import recipe_facts
from core.report.parts import Mean
from core.report.quality_parts import (
    Band,
    Baseline,
    BlockError,
    Knockout,
    KnockoutBand,
    KnockoutCondition,
    LayerShift,
    SinksAfter,
    SinkShift,
)
from core.sinks.statistics import summarise
from core.spec import RecipeSpec, Sinks


def mean_of(values: Tensor) -> Mean:
    mean, stderr = summarise(values)
    return Mean(mean=mean, stderr=stderr)


def band_facts(noisy: NoisyTokens, dense: Judgement, pruned: Judgement) -> list[Band]:
    """Dense and pruned by timestep, or by quarter of the text."""
    before, after = (bands.by_band(noisy, each.losses, each.quarters) for each in (dense, pruned))
    return [
        Band(
            lower=lower,
            upper=upper,
            draws=draws,
            dense=float(one.mean()),
            pruned=float(other.mean()),
            difference=float((other - one).mean()),
            stderr=summarise(other - one)[1],
        )
        for lower, upper, draws, one, other in _by_band(noisy, before, after)
    ]


def _by_band(
    noisy: NoisyTokens, one: Tensor, other: Tensor
) -> Iterator[tuple[float, float, int, Tensor, Tensor]]:
    """Edges, size and both losses (samples,) of every band in which anything is predicted."""
    sizes = bands.sizes(noisy)
    for band, (lower, upper) in enumerate(bands.edges()):
        if sizes[band]:
            yield lower, upper, sizes[band], one[:, band], other[:, band]


def block_facts(errors: BlockErrors) -> list[BlockError]:
    return [
        BlockError(layer=layer, own=mean_of(own), carried=mean_of(carried))
        for layer, (own, carried) in enumerate(zip(errors.own, errors.carried, strict=True))
    ]


def knockout_facts(
    noisy: NoisyTokens, found: Mapping[Condition, KnockedOut], sinks: Sinks, text: str
) -> Knockout:
    samples, draws, positions = noisy.masked.shape
    nothing = found["none"]
    return Knockout(
        samples=samples,
        draws=draws,
        positions=positions,
        threshold_std=sinks.threshold_std,
        stable_persistence=sinks.stable_persistence,
        text=text,
        conditions=[
            KnockoutCondition(
                name=name,
                repeats=CONDITIONS[name],
                hidden=each.hidden,
                loss=mean_of(each.losses),
                difference=mean_of(each.losses - nothing.losses),
                bands=[
                    KnockoutBand(
                        lower=lower,
                        upper=upper,
                        draws=size,
                        loss=float(loss.mean()),
                        difference=float((loss - before).mean()),
                        stderr=summarise(loss - before)[1],
                    )
                    for lower, upper, size, before, loss in _by_band(
                        noisy, nothing.bands, each.bands
                    )
                ],
            )
            for name, each in found.items()
        ],
    )


def sinks_after_facts(watched: WatchedAfter, threshold_std: float) -> SinksAfter:
    """Of both models' attention mass, over all blocks together and for each."""
    dense, pruned, present = watched.dense, watched.pruned, watched.present
    samples, timesteps, blocks, _ = dense.shape
    overall = MeasuredShift.of(dense.sum(2), pruned.sum(2), threshold_std, present)
    by_layer = [
        MeasuredShift.of(dense[:, :, layer], pruned[:, :, layer], threshold_std, present)
        for layer in range(blocks)
    ]
    return SinksAfter(
        samples=samples,
        timesteps=timesteps,
        overall=SinkShift(**_means(overall)),
        per_layer=[LayerShift(layer=layer, **_means(each)) for layer, each in enumerate(by_layer)],
    )


def _means(shift: MeasuredShift) -> dict[str, Any]:
    return {name: mean_of(getattr(shift, name)) for name in SinkShift.model_fields}


def baseline_facts(
    method: Method,
    masks: MaskDifference,
    asked: RecipeSpec,
    judged: Judgement | None,
    ours: Judgement | None,
) -> Baseline:
    """Of two prunings of one model, and their losses on the same tokens."""
    counts = masks.matrices.values()
    loss = difference = None
    if judged is not None and ours is not None:
        loss, difference = mean_of(judged.nelbo), mean_of(ours.nelbo - judged.nelbo)
    return Baseline(
        method=method,
        recipe=recipe_facts(METHODS[method], asked),
        disagreement=_share(sum(one for one, _ in counts), sum(either for _, either in counts)),
        matrices={name: _share(one, either) for name, (one, either) in masks.matrices.items()},
        heads=masks.one.over(masks.either),
        heads_sparsity_change=masks.sparsity_change(),
        loss=loss,
        difference=difference,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
