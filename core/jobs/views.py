"""What a client sees of a job. Plain values: no session, no database, no torch."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from core.jobs.states import State
from core.progress import Forecast, Phase


class Failure(BaseModel):
    """Why a job failed: a stable code, a sentence, and what to do about it."""

    code: str
    message: str
    remedy: str = ""
    log: tuple[str, ...] = ()
    """The run's last lines, without control characters and secrets; none in lists."""


Outcome = Literal[
    "succeeded",
    "failed",
    "timed-out",
    "out-of-memory",
    "cancelled",
    "given-back",
    "died",
    "stalled",
    "lost",
]
"""How an attempt ended. `timed-out`: at the limit of a phase. `given-back`: its worker shut down, and it does not count. `died`: the run's
process ended without a word. `stalled`: it said nothing for too long. `lost`: its worker was not
heard of in time."""


class Attempt(BaseModel):
    """One run of a job, under one lease."""

    number: int
    """Counts towards the limit of attempts: one that is given back has the number of the next."""
    epoch: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    """None while it runs."""
    reason: str
    """Why it ended early; empty otherwise."""


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
    plan: Forecast | None = None
    """What the last run was planned to take, once it had a plan."""
    attempts: tuple[Attempt, ...] | None = None
    """The newest 50 runs, oldest first; null in lists."""
    spec: dict[str, Any]
    metadata: dict[str, str]
    priority: int
    sweep_id: str | None = None
    """The sweep that it belongs to, if it does."""
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
