"""Which workers there are. They write that they live; what they do is read from the jobs."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update

from core.jobs.database import Database
from core.jobs.presence import Presence, Worker
from core.jobs.records import JobRecord, WorkerRecord
from core.jobs.states import OWNED

FORGOTTEN_AFTER: Final = timedelta(days=1)
MISSED: Final = 4  # of what it announced, before a worker counts as stale


class FleetSide:
    """The workers of this database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def present(self, worker: Presence, now: datetime, again_in: float) -> None:
        """Note that `worker` lives, and that it means to say so again in `again_in` seconds.

        Those that have not been heard of for a day are forgotten.
        """
        values: dict[str, Any] = {
            **worker.model_dump(mode="json", exclude={"id", "started_at"}),
            "started_at": worker.started_at,
            "last_seen": now,
            "again_in": again_in,
        }
        with self._database.write() as session:
            known = update(WorkerRecord).where(WorkerRecord.id == worker.id).values(**values)
            if session.scalar(known.returning(WorkerRecord.id)) is None:
                session.add(WorkerRecord(id=worker.id, **values))
            forgotten = WorkerRecord.last_seen < now - FORGOTTEN_AFTER
            session.execute(delete(WorkerRecord).where(forgotten))

    def workers(self, tenant: str, now: datetime) -> list[Worker]:
        """All of them, by name. Of what they do, `tenant` sees its own jobs and nothing of others."""
        at_work = select(JobRecord.worker, JobRecord.id, JobRecord.tenant).where(
            JobRecord.state.in_(OWNED)
        )
        with self._database.read() as session:
            found = session.scalars(select(WorkerRecord).order_by(WorkerRecord.id)).all()
            holds = [(worker, job, whose) for worker, job, whose in session.execute(at_work)]
        busy = {worker for worker, _, _ in holds}
        own = {worker: job for worker, job, whose in holds if whose == tenant}
        return [_view(each, now, busy=each.id in busy, job=own.get(each.id)) for each in found]


def _view(record: WorkerRecord, now: datetime, *, busy: bool, job: str | None) -> Worker:
    late = now - record.last_seen > timedelta(seconds=MISSED * record.again_in)
    return Worker.model_validate(
        {
            "id": record.id,
            "host": record.host,
            "device": record.device,
            "gpus": record.gpus,
            "versions": record.versions,
            "started_at": record.started_at,
            "last_seen": record.last_seen,
            "state": "stale" if late else "online",
            "busy": busy,
            "job": job,
        }
    )
