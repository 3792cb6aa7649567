"""What a receiver of webhooks gets to read: {type, timestamp, data}, as Standard Webhooks advises."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from core.jobs.records import JobRecord
from core.jobs.views import Failure

JobEvent = Literal["job.running", "job.succeeded", "job.failed", "job.cancelled"]


class JobNotice(BaseModel):
    """A job as it was when it moved.

    Its spec is as posted, but for the webhook: a URL may hold a secret, and bodies end up in logs.
    """

    id: str
    state: str
    message: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: Failure | None
    spec: dict[str, Any]
    metadata: dict[str, str]


class JobMessage(BaseModel):
    """The body of what is sent when a job moves."""

    type: JobEvent
    timestamp: datetime
    """When the job moved, however late this arrives."""
    data: JobNotice


class Remark(BaseModel):
    message: str


class TestMessage(BaseModel):
    """The body of what is sent when somebody asks for a test."""

    type: Literal["webhook.test"] = "webhook.test"
    timestamp: datetime
    data: Remark = Remark(message="This server can tell you about its jobs.")


def job_message(record: JobRecord, event: JobEvent, now: datetime) -> str:
    """The body that tells of the move `record` has just made."""
    notice = JobNotice.model_validate(
        {
            "id": record.id,
            "state": record.state.value,
            "message": record.message,
            "attempt": record.attempt,
            "created_at": record.created_at,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "error": record.error,
            "spec": {name: value for name, value in record.spec.items() if name != "webhook"},
            "metadata": record.labels,
        }
    )
    return JobMessage(type=event, timestamp=now, data=notice).model_dump_json()
