"""What keeps a job from being forgotten: found waiting, found without a living worker, swept."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from core.jobs import moves
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.states import OWNED, TERMINAL, State

BATCH = 100  # rows looked at in one go; the next scan takes the next ones


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that has run out. Equal to itself later only if nobody has renewed it."""

    job_id: str
    epoch: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over: whatever lies below its other epochs is rubbish."""

    job_id: str
    epoch: int
    manifest_key: str | None


class ReaperSide:
    """Safe to be used by every worker at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queued_ids(self, *, since: datetime | None = None, limit: int = BATCH) -> list[str]:
        """Queued jobs, the next to run first; with `since`, those that wait since then or longer."""
        statement = (
            select(JobRecord.id)
            .where(JobRecord.state == State.QUEUED)
            .order_by(
                JobRecord.priority.desc(), JobRecord.queued_at, JobRecord.created_at, JobRecord.id
            )
            .limit(limit)
        )
        if since is not None:
            statement = statement.where(JobRecord.queued_at <= since)
        with self._database.read() as session:
            return list(session.scalars(statement))

    def expired(self, now: datetime) -> list[Lease]:
        """Leases that nobody has renewed in time."""
        statement = (
            select(JobRecord.id, JobRecord.epoch, JobRecord.lease_until)
            .where(JobRecord.state.in_(OWNED), JobRecord.lease_until < now)
            .order_by(JobRecord.lease_until)
            .limit(BATCH)
        )
        with self._database.read() as session:
            rows = session.execute(statement).all()
        return [Lease(job_id, epoch, until) for job_id, epoch, until in rows if until]

    def take_back(self, lease: Lease, now: datetime, *, max_attempts: int) -> State | None:
        """End `lease`: the job is queued for its next attempt, failed after the last, or cancelled.

        None if the worker has renewed it or another reaper was faster.
        """
        statement = (
            update(JobRecord)
            .where(
                JobRecord.id == lease.job_id,
                JobRecord.epoch == lease.epoch,
                JobRecord.state.in_(OWNED),
                JobRecord.lease_until == lease.until,
            )
            .values(version=JobRecord.version + 1)
            .returning(JobRecord)
        )
        with self._database.write() as session:
            record = session.scalars(statement).one_or_none()
            if record is None:
                return None
            reason = f"worker {record.worker} was not heard of in time"
            why = moves.Release(
                reason, counts=True, max_attempts=max_attempts, kind="lease-expired"
            )
            return moves.release(session, record, now, why)

    def unswept(self, *, after: str = "") -> list[Ended]:
        """Ended jobs, with ids above `after`, whose losing runs may have left objects behind."""
        statement = (
            select(JobRecord.id, JobRecord.epoch, JobRecord.manifest_key)
            .where(JobRecord.state.in_(TERMINAL), JobRecord.swept.is_(False), JobRecord.id > after)
            .order_by(JobRecord.id)
            .limit(BATCH)
        )
        with self._database.read() as session:
            return [Ended(*row) for row in session.execute(statement).all()]

    def swept(self, ended: Ended) -> None:
        """The leftovers of an ended job are gone. Nothing a client sees changes.

        Where its result has expired since, the winner's objects are leftovers too, and it stays
        to be swept.
        """
        statement = (
            update(JobRecord)
            .where(
                JobRecord.id == ended.job_id,
                JobRecord.epoch == ended.epoch,
                JobRecord.manifest_key.is_not_distinct_from(ended.manifest_key),
                JobRecord.state.in_(TERMINAL),
            )
            .values(swept=True)
        )
        with self._database.write() as session:
            session.execute(statement)
