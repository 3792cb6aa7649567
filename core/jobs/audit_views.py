"""What a client sees of the audit log. Plain values: no session, no database."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class AuditEntry(BaseModel):
    id: str
    at: datetime
    tenant: str | None = Field(description="whose key did it; none for a key that is none")
    key_id: str | None
    action: str = Field(description="such as job.submit or key.revoke")
    target: str | None = Field(description="the job, key or tenant that it was done to")
    outcome: str = Field(description="done, or the code of the refusal")
    address: str | None
    request_id: str | None
    detail: dict[str, Any]


class AuditPage(BaseModel):
    data: list[AuditEntry]
    has_more: bool
    next: str | None
