"""What a client sees of a job. Plain values: no session, no database, no torch."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from core.jobs.states import State
from core.progress import Phase


class Failure(BaseModel):
    """Why a job failed: a stable code, a sentence, and what to do about it."""

    code: str
    message: str
    remedy: str = ""


class Job(BaseModel):
    """One job as the API returns it."""

    id: str
    state: State
    phase: Phase | None
    progress: float
    message: str
    eta_seconds: float | None
    attempt: int
    epoch: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expired_at: datetime | None = None
    """When the artifacts were removed by retention; the job itself stays."""
    error: Failure | None
    spec: dict[str, Any]
    metadata: dict[str, str]
    priority: int
    version: int
    """Increases with every change of the row: the base of the ETag."""


class Event(BaseModel):
    """One numbered line of a job's append-only history."""

    id: int
    """1, 2, 3, … within the job, without gaps."""
    created_at: datetime
    level: Literal["info", "warning", "error"]
    type: Literal["state", "progress", "log"]
    message: str
    data: dict[str, Any]


class JobPage(BaseModel):
    data: list[Job]
    has_more: bool
    next: str | None


class EventPage(BaseModel):
    data: list[Event]
    has_more: bool
    next: str | None
