"""What the API asks of the store. Every question says whose jobs it means."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from core.errors import ArtifactsExpired
from core.jobs import admission, attempts, audit, events, labels, moves, tallies
from core.jobs.audit import Actor
from core.jobs.database import Database
from core.jobs.origin import UNKNOWN, Origin
from core.jobs.records import JobRecord
from core.jobs.rows import find
from core.jobs.states import State
from core.jobs.views import Attempt, EventPage, Job
from core.quotas import NO_QUOTAS, Quotas
from core.spec import JobSpec


class ClientSide:
    """Create, read and cancel. Raises StoreUnavailable where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        tenant: str,
        spec: JobSpec,
        now: datetime,
        origin: Origin = UNKNOWN,
        *,
        quotas: Quotas = NO_QUOTAS,
        by: Actor | None = None,
    ) -> Job:
        """Accept a job. Once this returns, it will reach a terminal state.

        Raises:
            QueueFull, StorageFull: the tenant has as much as it may.
        """
        with self._database.write() as session:
            record = add_job(session, tenant, spec, now, origin, quotas=quotas, by=by)
        return view(record, ())

    def cancel(self, tenant: str, job_id: str, now: datetime, *, by: Actor | None = None) -> Job:
        """Ask for an end: a queued job is cancelled at once, a running one is told to stop.

        Raises:
            JobNotFound, and WrongState when the job has already ended.
        """
        with self._database.write() as session:
            record = find(session, tenant, job_id, lock=True)
            moves.request_cancel(session, record, now)
            runs = attempts.of(session, record)
            audit.note(session, by, now, "job.cancel", record.id)
        return view(record, runs)

    def events(self, tenant: str, job_id: str, *, after: int = 0, limit: int = 100) -> EventPage:
        """The job's events with numbers above `after`. Raises JobNotFound."""
        with self._database.read() as session:
            find(session, tenant, job_id)
            return events.page(session, job_id, after=after, limit=limit)

    def manifest_key(self, tenant: str, job_id: str) -> str | None:
        """Where the winning manifest lies, once the job has succeeded.

        Raises:
            JobNotFound, and ArtifactsExpired when retention has taken the result.
        """
        with self._database.read() as session:
            record = find(session, tenant, job_id)
            if record.expired_at is not None:
                raise ArtifactsExpired(job_id, record.expired_at)
            return record.manifest_key


def add_job(
    session: Session,
    tenant: str,
    spec: JobSpec,
    now: datetime,
    origin: Origin,
    *,
    quotas: Quotas,
    by: Actor | None,
) -> JobRecord:
    """The row of a new job, and the first event of its history. Raises QueueFull, StorageFull."""
    admission.admit(session, tenant, quotas)
    record = put_job(session, tenant, spec, now, origin)
    audit.note(session, by, now, "job.submit", record.id)
    return record


def put_job(
    session: Session,
    tenant: str,
    spec: JobSpec,
    now: datetime,
    origin: Origin,
    *,
    sweep: tuple[str, int] | None = None,
) -> JobRecord:
    """The same for a job that has been admitted; of a `sweep`, its id and the job's number there."""
    sweep_id, cell = sweep or (None, None)
    record = JobRecord(
        id=f"job_{secrets.token_hex(12)}",
        tenant=tenant,
        state=State.QUEUED,
        progress=0.0,
        message="queued",
        attempt=1,
        epoch=0,
        swept=False,
        version=1,
        last_event=0,
        created_at=now,
        queued_at=now,
        spec=spec.model_dump(mode="json"),
        method=spec.method,
        model=spec.model.source,
        labels=spec.metadata,
        priority=spec.priority,
        sweep_id=sweep_id,
        sweep_cell=cell,
    )
    session.add(record)
    data = {"state": record.state.value, "attempt": record.attempt, **origin.data()}
    events.append(session, record, now, "state", record.message, data=data)
    labels.put(session, record)
    tallies.count(session, "jobs_accepted")
    return record


def view(record: JobRecord | Row[*tuple[Any, ...]], runs: tuple[Attempt, ...] | None = None) -> Job:
    """The row as a client sees it; without its `runs`, as lists show it."""
    error = record.error and {
        **record.error,
        "log": record.error.get("log", ()) if runs is not None else (),
    }
    return Job.model_validate(
        {
            "id": record.id,
            "state": record.state,
            "phase": record.phase,
            "progress": record.progress,
            "message": record.message,
            "eta_seconds": record.eta_seconds,
            "attempt": record.attempt,
            "epoch": record.epoch,
            "created_at": record.created_at,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "expired_at": record.expired_at,
            "error": error,
            "plan": record.plan,
            "attempts": runs,
            "spec": record.spec,
            "metadata": record.labels,
            "priority": record.priority,
            "sweep_id": record.sweep_id,
            "version": record.version,
        }
    )
