"""A job that has failed, or was cancelled, gets another chance."""

from datetime import datetime

from core.jobs import attempts, moves
from core.jobs.clients import view
from core.jobs.database import Database
from core.jobs.rows import find
from core.jobs.views import Job


class RetrySide:
    def __init__(self, database: Database) -> None:
        self._database = database

    def retry(self, tenant: str, job_id: str, now: datetime) -> Job:
        """Queue the job again with its own spec, as if it had just been posted.

        Its history goes on, and so do its epochs: whatever still sweeps up after the run that
        ended, or believes to be that run, can reach nothing of the next one.

        Raises:
            JobNotFound, and WrongState unless the job has failed or was cancelled.
        """
        with self._database.write() as session:
            record = find(session, tenant, job_id, lock=True)
            moves.start_over(session, record, now)
            return view(record, attempts.of(session, record))
