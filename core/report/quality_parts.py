"""The parts of `report.json` that look deeper than one loss: see docs/methods.md, Quality."""

from pydantic import Field

from core.evaluation.in_depth import Condition
from core.recipes import Method
from core.report.parts import Mean, Part


class BandEdges(Part):
    """One of equal parts of the noise levels, 0 where nothing is noised; or of the text, for
    autoregressive models."""

    lower: float
    upper: float
    draws: int = Field(
        description="what the losses are means of: noised sequences, or predicted positions of the text;"
        " weighted with them, the bands' losses average to the whole loss"
    )


class Band(BandEdges):
    """Loss of dense and pruned in one band, in nats per token."""

    dense: float
    pruned: float
    difference: float
    stderr: float | None = Field(
        description="standard error of the paired difference over samples; None for one sample"
    )


class BlockError(Part):
    """Relative squared error of one block's output, over sequences that the models are judged on."""

    layer: int
    own: Mean = Field(description="the pruned block on the dense model's hidden states")
    carried: Mean = Field(
        description="the pruned model's hidden states behind this block against the dense model's"
    )


class KnockoutBand(BandEdges):
    """Loss in one band with some positions hidden."""

    loss: float
    difference: float = Field(description="to the loss with nothing hidden")
    stderr: float | None = Field(
        description="standard error of the paired difference over samples; None for one sample"
    )


class KnockoutCondition(Part):
    """Loss with some positions hidden from attention: no query sees their keys."""

    name: Condition = Field(
        description="what is hidden: nothing, all sinks, the stable or the transient ones; or as many"
        " random positions that are no sinks"
    )
    repeats: int = Field(description="drawings of random positions that were averaged")
    hidden: float = Field(description="positions of a sequence that were hidden, on average")
    loss: Mean
    difference: Mean = Field(description="to `none`, paired by sample")
    bands: list[KnockoutBand]


class Knockout(Part):
    """What the dense model's sinks are worth to it: its loss when attention to them is hidden."""

    samples: int
    draws: int = Field(
        description="noised copies of each sample, over which a sink persists or not"
    )
    positions: int
    threshold_std: float
    stable_persistence: float
    text: str = Field(description="which text, and whether calibration saw it")
    conditions: list[KnockoutCondition]


class SinkShift(Part):
    """Sinks of the dense and of the pruned model in the same sequences."""

    dense_share: Mean = Field(description="of the dense model's attention, what its sinks receive")
    pruned_share_there: Mean = Field(
        description="of the pruned model's attention, what the dense model's sinks receive"
    )
    pruned_share: Mean = Field(
        description="of the pruned model's attention, what its own sinks receive"
    )
    dense_temporal_variance: Mean
    pruned_temporal_variance: Mean
    jaccard: Mean = Field(description="of both models' sinks at a timestep")


class LayerShift(SinkShift):
    layer: int


class SinksAfter(Part):
    """The pruned model watched on the first calibration samples, beside the dense model."""

    samples: int
    timesteps: int
    overall: SinkShift = Field(description="by the attention of all blocks together")
    per_layer: list[LayerShift]


class Baseline(Part):
    """The same model pruned by another method, with the same targets and calibration."""

    method: Method
    recipe: dict[str, str | None]
    disagreement: float = Field(
        description="of the weights that either removed, the share that only one did"
    )
    matrices: dict[str, float] = Field(description="disagreement by the checkpoint's tensor name")
    heads: list[list[float]] = Field(description="disagreement, blocks × heads")
    heads_sparsity_change: list[list[float]] = Field(
        description="removed share of each head, this job's minus the baseline's"
    )
    loss: Mean | None = Field(
        default=None, description="the baseline's, on the tokens of quality.nelbo"
    )
    difference: Mean | None = Field(
        default=None, description="this job's loss minus the baseline's, paired by sample"
    )
