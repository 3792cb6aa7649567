"""Several reports side by side, as one typed document (schema version 1). Free of numerics."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.report.schema import Objective


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(_Part):
    """A number and its standard error, null where the report has none."""

    value: float
    stderr: float | None = None


class RecipeCells(_Part):
    """What the method did; null where the report does not say, or its score reads no inputs."""

    score: str | None = None
    inputs: str | None = None
    order: str | None = None
    sinks: str | None = None
    allocation: str | None = None


class Row(_Part):
    """One report. What it does not have is null here, and named in `missing`."""

    number: int = Field(description="from 1, in the order asked for")
    name: str = Field(description="a job's id, or the folder's or the file's name")
    label: str = Field(description="what tells it from the others, in few words")
    note: str | None = Field(description="why there is no report, where there is none")
    model: str | None
    revision: str | None
    family: str | None
    method: str | None
    recipe: RecipeCells
    pattern: str | None
    asked_sparsity: float | None
    sparsity: float | None = Field(description="removed share of all prunable weights")
    objective: Objective | None = Field(description="what the losses are: a bound, or exact")
    dense: Value | None = Field(description="loss of the dense model, nats per token")
    pruned: Value | None = Field(description="loss of the pruned model, nats per token")
    difference: Value | None = Field(
        description="pruned − dense, with the standard error of the paired difference"
    )
    agreement: Value | None = Field(
        description="share of positions at which dense and pruned choose the same token"
    )
    seconds: float | None = Field(description="the run took")
    peak_bytes: float | None = Field(description="memory of the run at its peak")
    transient_share: Value | None
    temporal_variance: Value | None
    temporal_variance_relative: Value | None
    missing: list[str] = Field(description="what the report does not have, by name")


class Differs(_Part):
    """One thing that has to be the same for losses to be compared, and is not."""

    what: str
    values: dict[str, str] = Field(description="by row number; unknown where a report does not say")


class Comparison(_Part):
    schema_version: Literal[1] = 1
    comparable: bool = Field(
        description="whether all losses are of the same model on the same text with the same noise"
    )
    differs: list[Differs] = Field(description="why not, where they are not")
    warnings: list[str]
    rows: list[Row]
