"""The runs of a job, one after the other, and why each of them ended.

A row is begun by the claim and closed by whatever lets the job go, in the same transactions: a job
that runs has exactly one that is open.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import OutOfMemory
from core.jobs.records import AttemptRecord, JobRecord
from core.jobs.states import State
from core.jobs.views import Attempt, Failure, Outcome
from core.run_errors import PhaseTimeout

SHOWN: Final = 50  # workers that leave give jobs back, and nothing limits how often

_OF_END: Final[dict[State, Outcome]] = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
_OF_CODE: Final[dict[str, Outcome]] = {
    OutOfMemory.code: "out-of-memory",
    PhaseTimeout.code: "timed-out",
}


def outcome_of(end: State, failure: Failure | None) -> Outcome:
    """How the attempt ended that ended its job."""
    return _OF_CODE.get(failure.code, "failed") if failure else _OF_END[end]


def begin(session: Session, record: JobRecord, now: datetime) -> None:
    """The run under the epoch that the claim has just given."""
    session.add(
        AttemptRecord(
            job_id=record.id,
            epoch=record.epoch,
            number=record.attempt,
            worker=record.worker or "",
            started_at=now,
            reason="",
        )
    )


def close(
    session: Session, record: JobRecord, now: datetime, outcome: Outcome, reason: str
) -> None:
    """The end of the run that holds `record`; of a job that waits there is none to close."""
    session.flush()  # a claim may end the job it has just begun
    session.execute(
        update(AttemptRecord)
        .where(
            AttemptRecord.job_id == record.id,
            AttemptRecord.epoch == record.epoch,
            AttemptRecord.ended_at.is_(None),
        )
        .values(ended_at=now, outcome=outcome, reason=reason)
    )


def of(session: Session, record: JobRecord) -> tuple[Attempt, ...]:
    """The newest runs, oldest first."""
    if record.epoch == 0:
        return ()
    query = (
        select(AttemptRecord)
        .where(AttemptRecord.job_id == record.id)
        .order_by(AttemptRecord.epoch.desc())
        .limit(SHOWN)
    )
    return tuple(_view(found) for found in reversed(session.scalars(query).all()))


def _view(record: AttemptRecord) -> Attempt:
    return Attempt.model_validate(
        {
            "number": record.number,
            "epoch": record.epoch,
            "worker": record.worker,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "outcome": record.outcome,
            "reason": record.reason,
        }
    )
