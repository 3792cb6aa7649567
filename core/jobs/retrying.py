"""A job that has failed, or was cancelled, gets another chance."""

from datetime import datetime

from core.jobs import admission, attempts, audit, moves
from core.jobs.audit import Actor
from core.jobs.clients import view
from core.jobs.database import Database
from core.jobs.rows import find
from core.jobs.views import Job
from core.quotas import NO_QUOTAS, Quotas


class RetrySide:
    def __init__(self, database: Database) -> None:
        self._database = database

    def retry(
        self,
        tenant: str,
        job_id: str,
        now: datetime,
        *,
        quotas: Quotas = NO_QUOTAS,
        by: Actor | None = None,
    ) -> Job:
        """Queue the job again with its own spec, as if it had just been posted.

        Its history goes on, and so do its epochs: whatever still sweeps up after the run that
        ended, or believes to be that run, can reach nothing of the next one.

        Raises:
            JobNotFound, and WrongState unless the job has failed or was cancelled.
            QueueFull, StorageFull: the tenant has as much as it may.
        """
        with self._database.write() as session:
            admission.admit(session, tenant, quotas)
            record = find(session, tenant, job_id, lock=True)
            moves.start_over(session, record, now)
            audit.note(session, by, now, "job.retry", record.id)
            return view(record, attempts.of(session, record))
