"""What a client sees of a sweep. Plain values: no session, no database, no torch."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.jobs.states import RETRYABLE, TERMINAL, State

SweepState = Literal["running", "succeeded", "failed", "cancelled", "mixed", "empty"]


def state_of(counts: Mapping[State, int]) -> SweepState:
    """The state of a sweep, which follows from those of its jobs and is written down nowhere.

    | its jobs | state |
    |---|---|
    | some have not ended | running |
    | all have succeeded, failed, or were cancelled | succeeded, failed, cancelled |
    | all have ended, in different ways | mixed |
    | all were deleted | empty |
    """
    present = {state for state, count in counts.items() if count}
    if not present:
        return "empty"
    if present - TERMINAL:
        return "running"
    if len(present) > 1:
        return "mixed"
    (only,) = present
    if only in RETRYABLE:
        return "failed" if only is State.FAILED else "cancelled"
    return "succeeded"


class SweepCounts(BaseModel):
    """How many jobs of a sweep are in each state."""

    queued: int = 0
    running: int = 0
    cancelling: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    deleted: int = 0
    """Jobs that were deleted one by one."""


class SweepCell(BaseModel):
    """One job of a sweep."""

    number: int
    """From 1, in the order of the grid."""
    values: dict[str, Any]
    """What the grid says of it, by dotted path."""
    job: str | None
    """Its id; null once it was deleted."""
    state: State | None


class Sweep(BaseModel):
    """Many jobs that were asked for at once."""

    id: str
    name: str
    state: SweepState
    children: int = Field(description="how many jobs it has made")
    counts: SweepCounts
    created_at: datetime
    finished_at: datetime | None
    """When the last job ended; null while any goes on."""
    metadata: dict[str, str]
    spec: dict[str, Any]
    """As posted: base, grid, preset."""
    cells: list[SweepCell] | None = None
    """Every job, in the order of the grid; null in lists."""


class SweepPage(BaseModel):
    data: list[Sweep]
    has_more: bool
    next: str | None
