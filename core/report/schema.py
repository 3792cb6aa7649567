"""`report.json`: everything that was measured, as one typed document (schema version 1)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.models.families.base import Attention

Objective = Literal["nelbo", "likelihood"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mean(_Part):
    """A mean over calibration samples with its standard error (None for one sample)."""

    mean: float | None = Field(description="None where no sample defines the statistic")
    stderr: float | None


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
    process: Literal["llada", "dream", "uniform", "recorded"] = Field(
        description="what noised the text; recorded: a token file held the noised sequences"
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


class LayerSinks(_Part):
    layer: int
    spatial_variance: Mean
    temporal_variance: Mean
    temporal_variance_relative: Mean
    mass_share: Mean


class SinkFacts(_Part):
    """Attention-sink statistics on one trajectory; formulas in docs/methods.md."""

    trajectory: Literal["forward-noise", "recorded"]
    samples: int
    timesteps: list[int]
    positions: int
    threshold_std: float
    spatial_variance: Mean
    temporal_variance: Mean
    temporal_variance_relative: Mean
    transient_share: Mean
    stable_share: Mean
    mass_share: Mean
    jaccard: Mean
    masked_share: Mean = Field(description="share of sinks that sit on corrupted positions")
    sinks_per_step: Mean
    timesteps_without_sink: int
    per_layer: list[LayerSinks]


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


class Quality(_Part):
    objective: Objective = Field(
        default="nelbo", description="what `nelbo` holds: a bound, or an exact likelihood"
    )
    nelbo: Nelbo | None
    agreement: Agreement | None


class Control(_Part):
    """Another model, watched on the same text in its own way."""

    model: ModelFacts
    calibration: CalibrationFacts
    sinks: SinkFacts


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


class AnalysisReport(_Document):
    """Of a model that was only watched: nothing was removed, judged or timed."""

    kind: Literal["analysis"] = "analysis"
    recipe: None = None
    sparsity: None = None
    quality: None = None
    speed: None = None


AnyReport = Report | AnalysisReport
