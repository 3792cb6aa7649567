"""What a tenant may have at once: one quota per tenant, and whether a job is too large for it."""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel

from core.limit_errors import JobTooLarge

OTHERS: Final = "default"
"""The row for tenants that have none of their own."""

Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Quota(BaseModel):
    """Each limit holds by itself; what is left out is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued_jobs: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="jobs that wait; with 0 nothing can be submitted"
    )
    running_jobs: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None, description="jobs that run at a time; more of them wait, and others pass by"
    )
    stored_bytes: Bytes | None = Field(
        None, description="bytes of all results; nothing can be submitted once they take as much"
    )
    job_bytes: Bytes | None = Field(None, description="memory of one job at its estimated peak")
    job_flops: Amount | None = Field(None, description="floating-point operations of one job")
    job_seconds: Amount | None = Field(None, description="predicted seconds of one job")

    @property
    def limits_size(self) -> bool:
        """Whether an estimate is needed before a job can be accepted."""
        return (self.job_bytes, self.job_flops, self.job_seconds) != (None, None, None)


class Quotas(RootModel[dict[Annotated[str, Field(min_length=1, max_length=64)], Quota]]):
    """Quotas by tenant. A tenant's own row replaces the row `default`; neither adds to the other."""

    model_config = ConfigDict(frozen=True)

    def quota_for(self, tenant: str) -> Quota:
        """The tenant's quota; one that limits nothing where nobody wrote any."""
        return self.root.get(tenant, self.root.get(OTHERS, Quota()))


NO_QUOTAS: Final = Quotas({})


@dataclass(frozen=True, slots=True)
class JobSize:
    """What one job is estimated to take; None where the estimate does not say."""

    peak_bytes: int | None = None
    flops: float | None = None
    seconds: float | None = None


def check_size(size: JobSize, quota: Quota) -> None:
    """Raise JobTooLarge where `size` is more than one job may take; what is not known passes."""
    for what, needed, limit in (
        ("bytes of memory", size.peak_bytes, quota.job_bytes),
        ("floating-point operations", size.flops, quota.job_flops),
        ("seconds", size.seconds, quota.job_seconds),
    ):
        if needed is not None and limit is not None and needed > limit:
            raise JobTooLarge(what, needed, limit)
