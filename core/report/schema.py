"""`report.json`: everything that was measured, as one typed document (schema version 1)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mean(_Part):
    """A mean over calibration samples with its standard error (None for one sample)."""

    mean: float | None = Field(description="None where no sample defines the statistic")
    stderr: float | None


class ModelFacts(_Part):
    source: str
    revision: str = Field(description="hub commit, or sha256:… over the checkpoint's files")
    family: str
    parameters: int
    blocks: int
    heads: int
    context: int


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


class LayerSinks(_Part):
    layer: int
    spatial_variance: Mean
    temporal_variance: Mean
    temporal_variance_relative: Mean
    mass_share: Mean


class SinkFacts(_Part):
    """Attention-sink statistics on one trajectory; formulas in docs/methods.md."""

    trajectory: Literal["forward-noise"]
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
    masked_share: Mean = Field(description="share of sinks that sit on mask tokens")
    sinks_per_step: Mean
    timesteps_without_sink: int
    per_layer: list[LayerSinks]


class Nelbo(_Part):
    """Negative evidence lower bound in nats per token; pruned and dense see the same masks."""

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
    """How often dense and pruned name the same most likely token at masked positions."""

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
    nelbo: Nelbo | None
    agreement: Agreement | None


class Report(_Part):
    """The whole document. `job` is the spec as resolved."""

    schema_version: Literal[1] = 1
    job: dict[str, Any]
    model: ModelFacts
    recipe: dict[str, str | None]
    plan: Cost
    actual: Cost
    sparsity: SparsityFacts
    sinks: SinkFacts
    quality: Quality
    speed: Speed | None
    versions: dict[str, str]
    seeds: dict[str, int]
    warnings: list[str]
