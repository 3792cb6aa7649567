"""What those who wait for jobs ask, again and again, and therefore cheaply."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from core.jobs import events
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.rows import find
from core.jobs.states import State
from core.jobs.views import EventPage

_IDS_A_QUERY: Final = 500
_VERSIONS: Final = select(JobRecord.tenant, JobRecord.id, JobRecord.version).where(
    JobRecord.id.in_(bindparam("ids", expanding=True)), JobRecord.deleted_at.is_(None)
)


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
        return {job_id: version for _, job_id, version in self._versions(job_ids)}

    def versions_for(self, asked: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The same by (tenant, job id): who asks for another tenant's job is told of none."""
        pairs = set(asked)
        rows = self._versions({job_id for _, job_id in pairs})
        return {(row[0], row[1]): row[2] for row in rows if (row[0], row[1]) in pairs}

    def _versions(self, job_ids: Collection[str]) -> list[tuple[str, str, int]]:
        ids, found = sorted(job_ids), list[tuple[str, str, int]]()
        for start in range(0, len(ids), _IDS_A_QUERY):
            rows = self._database.ask(_VERSIONS, {"ids": ids[start : start + _IDS_A_QUERY]})
            found += [(row[0], row[1], row[2]) for row in rows]
        return found

    def news(self, tenant: str, job_id: str, *, after: int, limit: int) -> News:
        """The job's events with numbers above `after`. Raises JobNotFound."""
        with self._database.read() as session:
            record = find(session, tenant, job_id)
            page = events.page(session, job_id, after=after, limit=limit)
            return News(record.version, record.state, page)
