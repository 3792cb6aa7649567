"""What those who wait for jobs ask, again and again, and therefore cheaply."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from core.jobs import events
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.rows import find
from core.jobs.states import State
from core.jobs.views import EventPage

_IDS_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class News:
    """Events, and the job as it stood when they were read."""

    version: int
    state: State
    page: EventPage


class WatchSide:
    def __init__(self, database: Database) -> None:
        self._database = database

    def versions(self, job_ids: Collection[str]) -> dict[str, int]:
        """The present version of each job, of whatever tenant; deleted ones are left out."""
        ids, found = sorted(job_ids), dict[str, int]()
        with self._database.read() as session:
            for start in range(0, len(ids), _IDS_A_QUERY):
                statement = select(JobRecord.id, JobRecord.version).where(
                    JobRecord.id.in_(ids[start : start + _IDS_A_QUERY]),
                    JobRecord.deleted_at.is_(None),
                )
                found |= {row.id: row.version for row in session.execute(statement)}
        return found

    def news(self, tenant: str, job_id: str, *, after: int, limit: int) -> News:
        """The job's events with numbers above `after`. Raises JobNotFound."""
        with self._database.read() as session:
            record = find(session, tenant, job_id)
            page = events.page(session, job_id, after=after, limit=limit)
            return News(record.version, record.state, page)
