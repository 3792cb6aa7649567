"""What retention and the removal of rubbish ask of the job store, and the end of a job's results."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from core.jobs import events, tallies
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.states import TERMINAL, State
from core.retention import Result

_IDS_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a job is over, and the last epoch under which it ran."""

    ended: bool
    epoch: int

    def is_over(self, epoch: int) -> bool:
        """Whether nothing that the run `epoch` still stores can ever be named.

        A queued job's last run counts as alive: nobody holds it, but nobody has ended it either.
        """
        return epoch < self.epoch or (self.ended and epoch == self.epoch)


class ExpirySide:
    """Safe to be used by every worker, and by people, at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tenants_with_results(self) -> list[str]:
        statement = select(JobRecord.tenant).where(JobRecord.manifest_key.is_not(None)).distinct()
        with self._database.read() as session:
            return sorted(session.scalars(statement))

    def results(self, tenant: str) -> list[Result]:
        """The tenant's succeeded jobs that still have their artifacts."""
        statement = select(JobRecord.id, JobRecord.finished_at).where(
            JobRecord.tenant == tenant,
            JobRecord.state == State.SUCCEEDED,
            JobRecord.manifest_key.is_not(None),
        )
        with self._database.read() as session:
            rows = session.execute(statement).all()
        return [Result(job_id, finished) for job_id, finished in rows if finished]

    def expire(self, job_id: str, now: datetime) -> bool:
        """Forget a succeeded job's result, which leaves its objects to the next sweep.

        One transaction: whatever dies after it, the sweep still finds the job. False if the job
        has no result (any more).
        """
        statement = (
            update(JobRecord)
            .where(
                JobRecord.id == job_id,
                JobRecord.state == State.SUCCEEDED,
                JobRecord.manifest_key.is_not(None),
            )
            .values(manifest_key=None, expired_at=now, swept=False, version=JobRecord.version + 1)
            .returning(JobRecord)
        )
        with self._database.write() as session:
            record = session.scalars(statement).one_or_none()
            if record is None:
                return False
            events.append(session, record, now, "log", "artifacts expired")
            tallies.count(session, "results_expired")
            return True

    def standings(self, job_ids: Collection[str]) -> dict[str, Standing]:
        """How those of the jobs stand that this database knows."""
        found: dict[str, Standing] = {}
        ids = sorted(job_ids)
        for start in range(0, len(ids), _IDS_A_QUERY):
            statement = select(JobRecord.id, JobRecord.state, JobRecord.epoch).where(
                JobRecord.id.in_(ids[start : start + _IDS_A_QUERY])
            )
            with self._database.read() as session:
                for job_id, state, epoch in session.execute(statement):
                    found[job_id] = Standing(state in TERMINAL, epoch)
        return found
