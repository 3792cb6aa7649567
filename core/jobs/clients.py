"""What the API asks of the store. Every question says whose jobs it means."""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from core.errors import ArtifactsExpired, InvalidSpec
from core.jobs import admission, attempts, audit, events, moves, tallies
from core.jobs.audit import Actor
from core.jobs.database import Database
from core.jobs.origin import UNKNOWN, Origin
from core.jobs.records import JobRecord
from core.jobs.rows import find
from core.jobs.states import State
from core.jobs.views import Attempt, EventPage, Job, JobPage
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

    def get(self, tenant: str, job_id: str) -> Job:
        """One job. Raises JobNotFound, also for another tenant's."""
        with self._database.read() as session:
            record = find(session, tenant, job_id)
            return view(record, attempts.of(session, record))

    def list(
        self,
        tenant: str,
        *,
        state: State | None = None,
        method: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        sweep: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> JobPage:
        """Jobs that match all that is given, newest first.

        Raises:
            InvalidSpec: `after` is not a cursor from an earlier page.
        """
        query = select(JobRecord).where(JobRecord.tenant == tenant, JobRecord.deleted_at.is_(None))
        if state is not None:
            query = query.where(JobRecord.state == state)
        if method is not None:
            query = query.where(JobRecord.method == method)
        if model is not None:
            query = query.where(JobRecord.model == model)
        if sweep is not None:
            query = query.where(JobRecord.sweep_id == sweep)
        for key, value in (metadata or {}).items():
            query = query.where(_has_label(key, value))
        if after is not None:
            query = query.where(_older_than(after))
        query = query.order_by(JobRecord.created_at.desc(), JobRecord.id.desc()).limit(limit + 1)
        with self._database.read() as session:
            found = session.scalars(query).all()
            data = [view(record) for record in found[:limit]]
        has_more = len(found) > limit
        return JobPage(data=data, has_more=has_more, next=_cursor(data[-1]) if has_more else None)

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
    tallies.count(session, "jobs_accepted")
    return record


def view(record: JobRecord, runs: tuple[Attempt, ...] | None = None) -> Job:
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


def _cursor(job: Job) -> str:
    place = json.dumps([job.created_at.astimezone(UTC).isoformat(), job.id])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _older_than(cursor: str) -> ColumnElement[bool]:
    try:
        created, job_id = _place(cursor)
    except (ValueError, TypeError, OverflowError):
        raise InvalidSpec(
            f"{cursor[:80]!r} is not a cursor.",
            remedy="Pass `next` of an earlier page, or leave `after` out.",
            fields=[{"field": "after", "message": "not a cursor from this list"}],
        ) from None
    same_moment = and_(JobRecord.created_at == created, JobRecord.id < job_id)
    return or_(JobRecord.created_at < created, same_moment)


def _place(cursor: str) -> tuple[datetime, str]:
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    created, job_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    return datetime.fromisoformat(created).astimezone(UTC), str(job_id)


def _has_label(key: str, value: str) -> ColumnElement[bool]:
    # Other characters have a meaning in JSON paths, and no spec holds such a key.
    if not re.fullmatch(r"[\w.-]+", key):
        return false()
    matches: ColumnElement[bool] = JobRecord.labels[key].as_string() == value
    return matches
