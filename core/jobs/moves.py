"""How a row changes state: the table is asked, the version rises, the event is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.errors import WorkerLost, WrongState
from core.jobs import attempts, events, outbox, tallies
from core.jobs.records import JobRecord
from core.jobs.states import RETRYABLE, TERMINAL, State, check_move
from core.jobs.views import Failure, Outcome

LOOK: Final = (
    "Look into the worker's log. If its memory ran out, lower SECATEUR_MEMORY_BUDGET"
    " or use a larger machine; then post the job again."
)


@dataclass(frozen=True, slots=True)
class Release:
    """Why a worker no longer holds a job, and whether the run counts as an attempt."""

    reason: str
    counts: bool
    max_attempts: int = 0
    """Looked at only where the run counts."""
    outcome: Outcome = "died"
    code: str = WorkerLost.code
    """With `remedy` and `log`: of the failure, if that was the last attempt."""
    remedy: str = LOOK
    log: tuple[str, ...] = ()
    memory_budget: int | None = None
    """What the next runs may use at most; None changes nothing."""


def end(
    session: Session,
    record: JobRecord,
    then: State,
    now: datetime,
    failure: Failure | None = None,
    outcome: Outcome | None = None,
) -> State:
    """Move to a terminal state. A job being cancelled ends as cancelled, whatever its run did.

    `outcome` is of the attempt, where another word than that of the job's own end tells more.
    """
    if record.state is State.CANCELLING:
        then, failure, outcome = State.CANCELLED, None, None
    _move(record, then, failure.message if failure else then.value)
    reason = failure.message if failure else ""
    attempts.close(session, record, now, outcome or attempts.outcome_of(then, failure), reason)
    record.memory_budget = None
    record.finished_at = now
    record.eta_seconds = None
    record.error = failure.model_dump(mode="json") if failure else None
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
            code=why.code,
            message=f"attempt {record.attempt} of {why.max_attempts} ended early: {why.reason}",
            remedy=why.remedy,
            log=why.log,
        )
        return end(session, record, State.FAILED, now, failure, why.outcome)
    attempts.close(session, record, now, why.outcome, why.reason)
    _move(record, State.QUEUED, why.reason)
    record.attempt += why.counts
    # What was too much once stays too much, whatever ends the next run.
    record.memory_budget = why.memory_budget or record.memory_budget
    record.queued_at = now
    record.phase, record.progress, record.eta_seconds = None, 0.0, None
    _tell(session, record, now, level="warning", reason=why.reason)
    tallies.count(session, "requeues", why.outcome)
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


def start_over(session: Session, record: JobRecord, now: datetime) -> None:
    """Back to the queue after the end, on a client's wish. Raises WrongState from anywhere else."""
    if record.state not in RETRYABLE:
        raise WrongState(
            f"job {record.id} is {record.state} and cannot be retried.",
            remedy="Only a job that has failed or was cancelled can; post its spec for another run.",
        )
    _move(record, State.QUEUED, "queued again")
    record.attempt = 1
    record.queued_at = now
    record.started_at = record.finished_at = record.expired_at = None
    record.error = None
    record.phase, record.progress, record.eta_seconds = None, 0.0, None
    record.swept = False
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
        # The log stays with the job: a history is read from its beginning, again and again.
        data["error"] = {name: record.error[name] for name in ("code", "message", "remedy")}
    events.append(session, record, now, "state", record.message, level=level, data=data)
    outbox.put(session, record, now)
