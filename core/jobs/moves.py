"""How a row changes state: the table is asked, the version rises, the event is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.orm import Session

from core.errors import WorkerLost
from core.jobs import events, tallies
from core.jobs.records import JobRecord
from core.jobs.states import TERMINAL, State, check_move
from core.jobs.views import Failure


@dataclass(frozen=True, slots=True)
class Release:
    """Why a worker no longer holds a job, and whether the run counts as an attempt."""

    reason: str
    counts: bool
    max_attempts: int = 0
    """Looked at only where the run counts."""
    kind: Literal["died", "given-back", "lease-expired"] = "died"
    """For counting."""


def end(
    session: Session,
    record: JobRecord,
    then: State,
    now: datetime,
    failure: Failure | None = None,
) -> State:
    """Move to a terminal state. A job being cancelled ends as cancelled, whatever its run did."""
    if record.state is State.CANCELLING:
        then, failure = State.CANCELLED, None
    _move(record, then, failure.message if failure else then.value)
    record.finished_at = now
    record.eta_seconds = None
    record.error = failure.model_dump() if failure else None
    record.swept = record.epoch == 0
    if then is State.SUCCEEDED:
        record.phase, record.progress = None, 1.0
    _tell(session, record, now, level="error" if then is State.FAILED else "info")
    tallies.count(session, "jobs_finished", then.value)
    return then


def release(session: Session, record: JobRecord, now: datetime, why: Release) -> State:
    """Back to the queue; or, when cancelling or out of attempts, to the end."""
    if record.state is State.CANCELLING:
        return end(session, record, State.CANCELLED, now)
    if why.counts and record.attempt >= why.max_attempts:
        failure = Failure(
            code=WorkerLost.code,
            message=f"attempt {record.attempt} of {why.max_attempts} ended early: {why.reason}",
            remedy="Look into the worker's log. If its memory ran out, lower SECATEUR_MEMORY_BUDGET"
            " or use a larger machine; then post the job again.",
        )
        return end(session, record, State.FAILED, now, failure)
    _move(record, State.QUEUED, why.reason)
    record.attempt += why.counts
    record.queued_at = now
    record.phase, record.progress, record.eta_seconds = None, 0.0, None
    _tell(session, record, now, level="warning", reason=why.reason)
    tallies.count(session, "requeues", why.kind)
    return State.QUEUED


def request_cancel(session: Session, record: JobRecord, now: datetime) -> None:
    """Queued: over at once. Running: asked to stop. Already asked: unchanged."""
    if record.state is State.CANCELLING:
        return
    if record.state is State.QUEUED:
        end(session, record, State.CANCELLED, now)
        record.version += 1
        return
    check_move(record.id, record.state, State.CANCELLING)
    record.state = State.CANCELLING
    record.message = "cancelling"
    record.version += 1
    _tell(session, record, now)


def _move(record: JobRecord, then: State, message: str) -> None:
    check_move(record.id, record.state, then)
    record.state = then
    record.message = message
    record.worker = record.lease_until = None


def _tell(
    session: Session,
    record: JobRecord,
    now: datetime,
    *,
    level: events.Level = "info",
    **more: Any,
) -> None:
    data: dict[str, Any] = {"state": record.state.value, "attempt": record.attempt, **more}
    if record.state in TERMINAL and record.error:
        data["error"] = record.error
    events.append(session, record, now, "state", record.message, level=level, data=data)
