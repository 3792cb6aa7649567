"""`report.json`: everything that was measured, as one typed document (schema version 1)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.models.families.base import Attention
from core.report import parts
from core.report.quality_parts import Band, Baseline, BlockError, Knockout, SinksAfter

Objective = Literal["nelbo", "likelihood"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


Mean = parts.Mean


class ModelFacts(_Part):
    source: str
    revision: str = Field(
        description="hub commit, sha256:… over the checkpoint's files, or s3-etag:… over what a bucket"
        " says of them, where not all were read"
    )
    family: str
    attention: Attention = Field(description="causal for models that write from left to right")
    parameters: int
    blocks: int
    heads: int
    context: int
    experts: int = Field(default=0, description="in each block that has a mixture of them")
    active_experts: int = Field(default=0, description="of these, how many each token goes through")


class CalibrationFacts(_Part):
    """The sequences that the model was watched on, as they turned out to be."""

    source: str
    revision: str | None = Field(
        description="commit of the data set, s3-version:… or s3-etag:… of the object; None where the"
        " source has no revisions"
    )
    process: Literal[
        "llada", "dream", "uniform", "recorded", "generation", "decoding", "prefixes"
    ] = Field(
        description="what noised the text; recorded: a token file held the noised sequences; generation,"
        " decoding: nothing did, the model wrote them by denoising or from left to right; prefixes:"
        " nothing did, the text was shown up to a place that moves on"
    )
    replaces: bool = Field(
        description="whether corrupted positions hold other tokens instead of the mask token"
    )
    timesteps: list[int] = Field(description="0 is the clean text")
    corrupted: list[float] = Field(
        description="at each timestep, the mean share of positions that were corrupted"
    )
    weights: list[float] = Field(
        description="at each timestep, what it counts for in statistics, mean over samples"
    )
    prompt_length: int | None = Field(
        default=None, description="positions that were given, where the model wrote the others"
    )
    unwritten: list[float] | None = Field(
        default=None,
        description="at each timestep, the mean share of positions that did not exist yet; None where"
        " all always did",
    )


class Cost(_Part):
    """What a run was predicted to take, or took."""

    peak_bytes: int | None
    seconds: float | None
    flops: float | None
    forwards: int | None = Field(description="sequences sent through the whole model")
    seconds_by_phase: dict[str, float] = {}


class MatrixSparsity(_Part):
    shape: tuple[int, int]
    removed: int
    fraction: float


class SparsityFacts(_Part):
    overall: float = Field(description="removed share of all prunable weights")
    matrices: dict[str, MatrixSparsity] = Field(description="by the checkpoint's own tensor name")
    blocks: list[float] | None = Field(
        default=None, description="each block's share, where an allocation handed them out"
    )
    unreached: list[str] = Field(
        default=[], description="experts' matrices that no calibration token reached"
    )
    heads: list[list[float]] | None = Field(
        default=None,
        description="blocks × heads: removed share of a head's rows of q, its columns of o, and its part"
        " of its group's rows of k and v",
    )


UNKNOWN = Mean(mean=None, stderr=None)
"""What a report says of a statistic that its version did not take."""


class LayerSinks(_Part):
    """As `SinkFacts`, of the mass of one block."""

    layer: int
    spatial_variance: Mean
    spatial_variance_relative: Mean = UNKNOWN
    temporal_variance: Mean
    temporal_variance_relative: Mean
    transient_share: Mean = UNKNOWN
    mass_share: Mean
    jaccard: Mean = UNKNOWN
    masked_share: Mean = UNKNOWN
    ends_share: Mean = UNKNOWN
    sinks_per_step: Mean = UNKNOWN
    value_norm_ratio: Mean = UNKNOWN


class HeadSinks(LayerSinks):
    """As `SinkFacts`, of the mass of one head of one block."""

    head: int


class PersistentPositions(_Part):
    """How many positions are a sink for so long."""

    share: float = Field(description="of timesteps at which the position is a sink")
    positions: float = Field(description="of a sample, mean over all samples")


class SinkFacts(_Part):
    """Attention-sink statistics on one trajectory; formulas in docs/methods.md."""

    trajectory: Literal["forward-noise", "recorded", "generation", "decoding", "prefixes"]
    samples: int
    timesteps: list[int]
    positions: int
    threshold_std: float
    spatial_variance: Mean
    spatial_variance_relative: Mean = Field(
        default=UNKNOWN, description="of mass over that of the mean position"
    )
    temporal_variance: Mean
    temporal_variance_relative: Mean
    transient_share: Mean
    stable_share: Mean
    mass_share: Mean
    jaccard: Mean
    masked_share: Mean = Field(description="share of sinks that sit on corrupted positions")
    ends_share: Mean = Field(
        default=UNKNOWN, description="share of sinks that are the first or the last position"
    )
    sinks_per_step: Mean
    value_norm_ratio: Mean = Field(
        default=UNKNOWN, description="mean length of the values at sinks, over that at the rest"
    )
    timesteps_without_sink: int
    persistence_histogram: list[PersistentPositions] = Field(
        default=[], description="one entry for each number of timesteps, of positions ever a sink"
    )
    per_layer: list[LayerSinks]
    per_head: list[HeadSinks] | None = Field(
        default=None, description="block by block, where sinks.per_head asks for it"
    )


class Nelbo(_Part):
    """Loss in nats per token: the negative evidence lower bound of a diffusion model, or the exact
    negative log-likelihood of an autoregressive one, whose perplexities are exact too. Pruned and
    dense see and predict the same."""

    dense: float
    pruned: float
    difference: float
    stderr: float = Field(description="standard error of the paired difference over samples")
    dense_stderr: float
    pruned_stderr: float
    perplexity_bound_dense: float
    perplexity_bound_pruned: float
    tokens: int
    samples: int
    text: str = Field(description="which text, and whether calibration saw it")


class Agreement(_Part):
    """How often dense and pruned name the same most likely token at predicted positions."""

    top1: float
    stderr: float
    positions: int


class Speed(_Part):
    """One forward of the same batch, dense and pruned in turn, on this machine."""

    dense_seconds: float
    pruned_seconds: float
    ratio: float = Field(description="dense over pruned: above 1 the pruned model is faster")
    runs: int
    note: str


class TextSample(_Part):
    """What dense and pruned make of the same beginning, which calibration did not see; without chance."""

    prompt: str
    truth: str = Field(description="how the text really went on")
    dense: str
    pruned: str


class Quality(_Part):
    objective: Objective = Field(
        default="nelbo", description="what `nelbo` holds: a bound, or an exact likelihood"
    )
    nelbo: Nelbo | None
    agreement: Agreement | None
    texts: list[TextSample] = Field(
        default=[], description="empty where none were asked for, or the model has no tokenizer"
    )
    bands: list[Band] = Field(
        default=[],
        description="`nelbo` by noise level, or, of an autoregressive model, by quarter of the text",
    )
    reconstruction: list[BlockError] = []
    sinks_after: SinksAfter | None = None
    knockout: Knockout | None = Field(default=None, description="of the dense model")
    baseline: Baseline | None = None


class Control(_Part):
    """Another model, watched on the same text in its own way."""

    model: ModelFacts
    calibration: CalibrationFacts
    sinks: SinkFacts
    knockout: Knockout | None = Field(
        default=None, description="where the job asks for the model's own"
    )


class Resumed(_Part):
    """Where a run went on that another had begun. Nothing but times can differ by it."""

    at: str = Field(description="what it did first itself, as in: block 20 of 32")
    origin: str = Field(description="whose work it went on with, as in: attempt 1")


class _Document(_Part):
    """What every report has. `job` is the spec as resolved."""

    schema_version: Literal[1] = 1
    job: dict[str, Any]
    model: ModelFacts
    calibration: CalibrationFacts
    plan: Cost
    actual: Cost
    sinks: SinkFacts
    control: Control | None = Field(default=None, description="where the job named one")
    versions: dict[str, str]
    seeds: dict[str, int]
    warnings: list[str]


class Report(_Document):
    """Of a model that was pruned."""

    kind: Literal["pruning"] = "pruning"
    recipe: dict[str, str | None]
    sparsity: SparsityFacts
    quality: Quality
    speed: Speed | None
    resumed: Resumed | None = Field(
        default=None, description="times count the work of earlier runs that was of use"
    )
    dense_reused: str | None = Field(
        default=None,
        description="the run whose judgement of the dense model was taken over, to the bit, instead of"
        " being made again",
    )


class AnalysisReport(_Document):
    """Of a model that was only watched: nothing was removed or timed, and nothing judged but what its
    sinks are worth to it."""

    kind: Literal["analysis"] = "analysis"
    recipe: None = None
    sparsity: None = None
    quality: None = None
    speed: None = None
    knockout: Knockout | None = None


AnyReport = Report | AnalysisReport
