"""Sweeps as the API asks for them: many jobs at once, all of them or none."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from core.errors import WrongState
from core.idempotency_errors import IdempotencyKeyReused
from core.jobs import admission, audit, moves
from core.jobs.audit import Actor
from core.jobs.clients import put_job
from core.jobs.cursors import cursor_of, place_of
from core.jobs.database import Database
from core.jobs.idempotency import KEPT, Once, lock_key
from core.jobs.origin import UNKNOWN, Origin
from core.jobs.records import JobRecord
from core.jobs.removal import bury
from core.jobs.states import TERMINAL, State
from core.jobs.sweep_records import SweepRecord
from core.jobs.sweep_rows import children_of, find_sweep, view
from core.jobs.sweep_views import Sweep, SweepPage
from core.quotas import NO_QUOTAS, Quotas
from core.sweep_spec import Planned

_APART: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PostedSweep:
    """The sweep that stands for a request."""

    sweep: Sweep
    replayed: bool
    """Whether an earlier request made it."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What there is to compare of one job of a sweep."""

    number: int
    job_id: str
    state: State
    spec: Mapping[str, Any]
    manifest_key: str | None
    """Where its result is; None without one."""
    expired: bool
    error: str | None
    """The code of its failure."""


class SweepSide:
    """Raises StoreUnavailable where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_sweep(
        self,
        tenant: str,
        planned: Planned,
        now: datetime,
        origin: Origin = UNKNOWN,
        *,
        once: Once | None = None,
        quotas: Quotas = NO_QUOTAS,
        by: Actor | None = None,
    ) -> PostedSweep:
        """Accept all jobs of a sweep, or none; with `once`, unless its key has made one within a day.

        Raises:
            QueueFull, StorageFull: the tenant may not have so many.
            IdempotencyKeyReused: the key came with another body.
            IdempotencyKeyInFlight: a request with the key is being carried out at this moment.
        """
        with self._database.write() as session:
            if once is not None:
                lock_key(session, tenant, f"sweep {once.key}")
                if earlier := _replayed(session, tenant, once, now):
                    return earlier
            admission.admit(session, tenant, quotas, len(planned.cells))
            record = _put_sweep(session, tenant, planned, now, once)
            # The clock's smallest step apart, so that they run, and are listed, in their order.
            for cell in planned.cells:
                moment = now + cell.number * _APART
                place = record.id, cell.number
                put_job(session, tenant, cell.spec, moment, origin, sweep=place)
            cells = len(planned.cells)
            audit.note(session, by, now, "sweep.submit", record.id, cells=cells)
            found = _whole(session, record)
        return PostedSweep(found, replayed=False)

    def sweep(self, tenant: str, sweep_id: str) -> Sweep:
        """One sweep with all its jobs. Raises SweepNotFound, also for another tenant's."""
        with self._database.read() as session:
            return _whole(session, find_sweep(session, tenant, sweep_id))

    def sweeps(self, tenant: str, *, limit: int = 50, after: str | None = None) -> SweepPage:
        """The tenant's sweeps, newest first.

        Raises:
            InvalidSpec: `after` is not a cursor from an earlier page.
        """
        query = select(SweepRecord).where(
            SweepRecord.tenant == tenant, SweepRecord.deleted_at.is_(None)
        )
        if after is not None:
            moment, sweep_id = place_of(after)
            same = and_(SweepRecord.created_at == moment, SweepRecord.id < sweep_id)
            query = query.where(or_(SweepRecord.created_at < moment, same))
        query = query.order_by(SweepRecord.created_at.desc(), SweepRecord.id.desc())
        with self._database.read() as session:
            found = session.scalars(query.limit(limit + 1)).all()
            shown, more = found[:limit], len(found) > limit
            children = children_of(session, [record.id for record in shown])
            data = [view(record, children[record.id], whole=False) for record in shown]
        return SweepPage(
            data=data,
            has_more=more,
            next=cursor_of(shown[-1].created_at, shown[-1].id) if more else None,
        )

    def cancel_sweep(
        self, tenant: str, sweep_id: str, now: datetime, *, by: Actor | None = None
    ) -> Sweep:
        """Ask for the end of every job that has not ended: of all in one transaction.

        Raises:
            SweepNotFound, and WrongState when all have ended already.
        """
        with self._database.write() as session:
            record = find_sweep(session, tenant, sweep_id, lock=True)
            going = session.scalars(
                select(JobRecord)
                .where(JobRecord.sweep_id == sweep_id, JobRecord.state.not_in(TERMINAL))
                .order_by(JobRecord.id)  # all who lock several do it in this order
                .with_for_update()
            ).all()
            if not going:
                raise WrongState(
                    f"sweep {sweep_id} has ended: none of its jobs can be cancelled.",
                    remedy="Read it again for its present state.",
                )
            for job in going:
                moves.request_cancel(session, job, now)
            audit.note(session, by, now, "sweep.cancel", sweep_id, jobs=len(going))
            session.flush()
            return _whole(session, record)

    def bury_sweep(
        self, tenant: str, sweep_id: str, now: datetime, *, by: Actor | None = None
    ) -> list[str]:
        """Let no client see the sweep and its jobs any more; which jobs these were.

        Raises:
            SweepNotFound, and WrongState unless all of them have ended.
        """
        with self._database.write() as session:
            record = find_sweep(session, tenant, sweep_id, lock=True)
            jobs = session.scalars(
                select(JobRecord)
                .where(JobRecord.sweep_id == sweep_id, JobRecord.deleted_at.is_(None))
                .order_by(JobRecord.id)
                .with_for_update()
            ).all()
            going = sum(job.state not in TERMINAL for job in jobs)
            if going:
                raise WrongState(
                    f"sweep {sweep_id} cannot be deleted: {going} of its jobs have not ended.",
                    remedy="Cancel it, and delete it once it has ended.",
                )
            for job in jobs:
                bury(session, job, now)
            record.deleted_at, record.once_key = now, None
            audit.note(session, by, now, "sweep.delete", sweep_id, jobs=len(jobs))
            return [job.id for job in jobs]

    def sweep_results(self, tenant: str, sweep_id: str) -> list[SweepResult]:
        """What there is to compare, in the order of the grid. Raises SweepNotFound."""
        query = (
            select(JobRecord)
            .where(JobRecord.sweep_id == sweep_id, JobRecord.deleted_at.is_(None))
            .order_by(JobRecord.sweep_cell)
        )
        with self._database.read() as session:
            find_sweep(session, tenant, sweep_id)
            return [_result(job) for job in session.scalars(query)]


def _result(job: JobRecord) -> SweepResult:
    return SweepResult(
        number=job.sweep_cell or 0,
        job_id=job.id,
        state=job.state,
        spec=job.spec,
        manifest_key=job.manifest_key,
        expired=job.expired_at is not None,
        error=job.error["code"] if job.error else None,
    )


def _whole(session: Session, record: SweepRecord) -> Sweep:
    return view(record, children_of(session, [record.id])[record.id], whole=True)


def _put_sweep(
    session: Session, tenant: str, planned: Planned, now: datetime, once: Once | None
) -> SweepRecord:
    sweep = planned.sweep
    record = SweepRecord(
        id=f"swp_{secrets.token_hex(12)}",
        tenant=tenant,
        name=sweep.name,
        labels=sweep.metadata,
        spec={"base": sweep.base, "grid": sweep.grid, "preset": sweep.preset},
        cells=[cell.values for cell in planned.cells],
        created_at=now,
        once_key=once and once.key,
        once_sha256=once and once.sha256,
    )
    session.add(record)
    session.flush()
    return record


def _replayed(session: Session, tenant: str, once: Once, now: datetime) -> PostedSweep | None:
    """The sweep that the key stands for, as long as it does; after that the key is free again."""
    query = select(SweepRecord).where(
        SweepRecord.tenant == tenant, SweepRecord.once_key == once.key
    )
    record = session.scalars(query.with_for_update()).one_or_none()
    if record is None:
        return None
    if record.created_at <= now - KEPT:
        record.once_key = None
        session.flush()
        return None
    if record.once_sha256 != once.sha256:
        raise IdempotencyKeyReused
    return PostedSweep(_whole(session, record), replayed=True)
