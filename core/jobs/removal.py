"""The end of a job's row. First nobody sees it, then its objects go, then it goes itself.

Whatever dies in between leaves a row with `deleted_at`, by which the rest is found and done.
"""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import WrongState
from core.jobs import audit
from core.jobs.audit import Actor
from core.jobs.database import Database
from core.jobs.idempotency import IdempotencyRecord
from core.jobs.reaping import BATCH
from core.jobs.records import JobRecord
from core.jobs.rows import find
from core.jobs.states import TERMINAL


class RemovalSide:
    """Safe to be used by every process at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bury(self, tenant: str, job_id: str, now: datetime, *, by: Actor | None = None) -> None:
        """Let no client see the job any more. Its objects are leftovers from now on.

        Its Idempotency-Key goes at once: the next request under it makes a new job.

        Raises:
            JobNotFound, and WrongState unless the job has ended.
        """
        with self._database.write() as session:
            record = find(session, tenant, job_id, lock=True)
            if record.state not in TERMINAL:
                raise WrongState(
                    f"job {job_id} is {record.state} and cannot be deleted.",
                    remedy="Cancel it, and delete it once it has ended.",
                )
            bury(session, record, now)
            audit.note(session, by, now, "job.delete", job_id)

    def buried(self) -> list[str]:
        """Jobs, of whatever tenant, that clients have deleted and whose rows are still there."""
        statement = (
            select(JobRecord.id)
            .where(JobRecord.deleted_at.is_not(None))
            .order_by(JobRecord.deleted_at)
            .limit(BATCH)
        )
        with self._database.read() as session:
            return list(session.scalars(statement))

    def erase(self, job_id: str) -> None:
        """Remove a buried job, whose objects must all be gone, with its whole history."""
        statement = delete(JobRecord).where(
            JobRecord.id == job_id, JobRecord.deleted_at.is_not(None)
        )
        with self._database.write() as session:
            session.execute(statement)


def bury(session: Session, record: JobRecord, now: datetime) -> None:
    """Hide a job that has ended, within the transaction that found that it has."""
    record.deleted_at = now
    record.manifest_key, record.swept = None, False
    record.version += 1
    session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.job_id == record.id))
