"""What a client sees of tenants. Plain values: no session, no database."""

from pydantic import BaseModel, Field

from core.quotas import Quota


class Usage(BaseModel):
    """What a tenant has now."""

    queued_jobs: int = 0
    running_jobs: int = Field(0, description="those that are being cancelled included")
    stored_bytes: int = Field(0, description="of all results that have not been removed")


class TenantUsage(BaseModel):
    """One tenant: what it has, and what it may have."""

    tenant: str
    usage: Usage
    quota: Quota = Field(description="null: not limited")
