"""What parts of a report that lie in modules of their own are made of."""

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mean(Part):
    """A mean over samples with its standard error (None for one sample)."""

    mean: float | None = Field(description="None where no sample defines the statistic")
    stderr: float | None
