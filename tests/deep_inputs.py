"""A report with every part that a report can have, without a model."""

import numpy as np

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
from core.report.schema import Control, Quality, Report, TextSample
from core.report.sinks_file import SinkArrays
from tests.report_inputs import HEADS, calibration, report_for, sink_facts

_EDGES = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
_RISES = {
    "none": (0.0, 0.0), "all": (0.169, 9.5), "random": (0.083, 9.5), "stable": (0.05, 1.2),
    "random-stable": (0.01, 1.2), "transient": (0.12, 8.3), "random-transient": (0.07, 8.3),
}  # fmt: skip


def deep_report(arrays: SinkArrays, other: SinkArrays) -> Report:
    """Of `arrays`, with a control of `other`."""
    plain = report_for(arrays)
    layers = arrays.mass.shape[2]
    quality = plain.quality.model_dump() | {
        "bands": [_band(i, *edges) for i, edges in enumerate(_EDGES)],
        "reconstruction": [_block(layer) for layer in range(layers)],
        "sinks_after": _after(layers),
        "knockout": knockout(),
        "baseline": _baseline(layers),
        "texts": [
            TextSample(
                prompt="And it came to pass in those days, ",
                truth="that there went out a decree from Caesar Augustus",
                dense="that the king of Israel went up to the house",
                pruned="that the sons of the children were <b>in the land</b>",
            )
        ]
        * 2,
    }
    model = plain.model.model_copy(
        update={"source": "example:verse-ar", "family": "llama", "attention": "causal"}
    )
    control = Control(model=model, calibration=calibration(other), sinks=sink_facts(other))
    return report_for(arrays, quality=Quality.model_validate(quality), control=control)


def knockout() -> Knockout:
    return Knockout(
        samples=32, draws=8, positions=256, threshold_std=2.0, stable_persistence=0.8,
        text="builtin:plain-text, the held-out part that calibration never saw",
        conditions=[
            KnockoutCondition.model_validate(
                {
                    "name": name,
                    "repeats": 3 if name == "random" else 1,
                    "hidden": hidden,
                    "loss": Mean(mean=1.5432 + rise, stderr=0.03),
                    "difference": Mean(mean=rise, stderr=0.006 if rise else 0.0),
                    "bands": [
                        KnockoutBand(
                            lower=a, upper=b, draws=64, loss=1.5 + rise, difference=rise * (1.6 - b),
                            stderr=0.008,
                        )
                        for a, b in _EDGES
                    ],
                }
            )
            for name, (rise, hidden) in _RISES.items()
        ],
    )  # fmt: skip


def _band(number: int, lower: float, upper: float) -> Band:
    dense = 0.9 + 0.45 * number
    cost = 0.05 + 0.05 * number
    return Band(
        lower=lower, upper=upper, draws=64, dense=dense, pruned=dense + cost, difference=cost,
        stderr=0.006,
    )  # fmt: skip


def _block(layer: int) -> BlockError:
    return BlockError(
        layer=layer,
        own=Mean(mean=0.02 + 0.004 * layer, stderr=0.001),
        carried=Mean(mean=0.03 + 0.03 * layer, stderr=0.003),
    )


def _shift(share: float) -> dict[str, Mean]:
    return {
        "dense_share": Mean(mean=share, stderr=0.002),
        "pruned_share_there": Mean(mean=0.8 * share, stderr=0.002),
        "pruned_share": Mean(mean=0.9 * share, stderr=0.002),
        "dense_temporal_variance": Mean(mean=800.0, stderr=30.0),
        "pruned_temporal_variance": Mean(mean=900.0, stderr=30.0),
        "jaccard": Mean(mean=0.7, stderr=0.01),
    }


def _after(layers: int) -> SinksAfter:
    return SinksAfter(
        samples=8,
        timesteps=10,
        overall=SinkShift(**_shift(0.2)),
        per_layer=[
            LayerShift(layer=layer, **_shift(0.1 + 0.02 * layer)) for layer in range(layers)
        ],
    )


def _baseline(layers: int) -> Baseline:
    rng = np.random.default_rng(0)
    change = rng.normal(0, 0.02, (layers, HEADS))
    return Baseline(
        method="wanda",
        recipe={"score": "wanda", "inputs": "clean", "order": "sequential", "sinks": "keep"},
        disagreement=0.21,
        matrices={},
        heads=rng.uniform(0.1, 0.4, (layers, HEADS)).tolist(),
        heads_sparsity_change=change.tolist(),
        loss=Mean(mean=1.64, stderr=0.03),
        difference=Mean(mean=0.02, stderr=0.004),
    )
