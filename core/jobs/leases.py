"""What a worker does with a job it holds.

A claim raises the row's epoch. Every later write of that worker says `WHERE epoch = :epoch`;
no row means that the job was taken back meanwhile, and the worker must drop what it has.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack

from pydantic import ValidationError
from sqlalchemy import ColumnElement, and_, func, null, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from core.errors import InvalidSpec, LeaseLost
from core.jobs import admission, attempts, events, moves, order, outbox, tallies
from core.jobs.database import Database
from core.jobs.origin import UNKNOWN, Origin, origin_of
from core.jobs.plans import words
from core.jobs.records import JobRecord
from core.jobs.states import OWNED, State, sources_of
from core.jobs.views import Failure, Outcome
from core.progress import Forecast, Progress
from core.quotas import NO_QUOTAS, Quotas
from core.spec import JobSpec, field_errors

T = TypeVar("T")


class Particulars(TypedDict, total=False):
    """Of a run that is over, for its attempt and for the failure after the last one."""

    outcome: Outcome
    code: str
    remedy: str
    log: tuple[str, ...]
    memory_budget: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in the hands of one worker."""

    job_id: str
    epoch: int
    attempt: int
    tenant: str
    spec: JobSpec
    memory_budget: int | None = None
    """What this run may use at most, after one whose memory ran out."""
    origin: Origin = UNKNOWN
    sweep_id: str | None = None


class WorkerSide:
    """Claim, tell, end. All but `claim` raise LeaseLost when `epoch` no longer owns the job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self,
        job_id: str,
        worker: str,
        now: datetime,
        lease_seconds: float,
        *,
        quotas: Quotas = NO_QUOTAS,
    ) -> Claim | None:
        """Take a queued job, if it still is one. Of several workers exactly one gets it.

        None, too, where its tenant already runs as many as its quota allows.
        A job that another transaction is at, claiming or cancelling it, is not waited for.
        A spec that this version cannot read (another one accepted it) fails its job at once.
        A running job whose lease has expired is not taken here: the reaper puts it back into
        the queue first, so that the move, its event and the count of attempts are never skipped.
        """
        with self._database.write() as session:
            if not admission.may_start(session, job_id, quotas):
                return None
            taken = _taken(job_id, worker, now, lease_seconds)
            record = session.scalars(taken).one_or_none()
            if record is None:
                return None
            data = {"state": record.state.value, "attempt": record.attempt, "worker": worker}
            message = f"attempt {record.attempt} started"
            events.append(session, record, now, "state", message, data=data)
            attempts.begin(session, record, now)
            order.served(session, record.tenant)
            outbox.put(session, record, now)
            try:
                spec = JobSpec.model_validate(record.spec)
            except ValidationError as error:
                moves.end(session, record, State.FAILED, now, _unreadable(error))
                return None
            counts = tallies.observed(
                "wait_seconds", {"": (now - record.queued_at).total_seconds()}
            )
            tallies.add(session, {tallies.Key("attempts_started"): 1, **counts})
            return Claim(
                record.id,
                record.epoch,
                record.attempt,
                record.tenant,
                spec,
                record.memory_budget,
                origin_of(session, record.id),
                record.sweep_id,
            )

    def heartbeat(self, job_id: str, epoch: int, now: datetime, lease_seconds: float) -> State:
        """Renew the lease; tells whether the job is to be cancelled."""
        statement = (
            update(JobRecord)
            .where(_owned_by(job_id, epoch))
            .values(lease_until=now + timedelta(seconds=lease_seconds))
            .returning(JobRecord.state)
        )
        with self._database.write() as session:
            return _or_lost(session.scalars(statement).one_or_none(), job_id, epoch)

    def held_state(self, job_id: str, epoch: int) -> State:
        """`running` or `cancelling`, without writing."""
        statement = select(JobRecord.state).where(_owned_by(job_id, epoch))
        with self._database.read() as session:
            return _or_lost(session.scalars(statement).one_or_none(), job_id, epoch)

    def progress(
        self, job_id: str, epoch: int, progress: Progress, now: datetime, eta: float | None
    ) -> State:
        """Record where the run is, and the event that says so."""
        with self._database.write() as session:
            record = _owned(session, job_id, epoch)
            record.phase = progress.phase
            record.progress = max(record.progress, min(progress.fraction, 1.0))
            record.eta_seconds = eta
            data: dict[str, Any] = {
                "phase": progress.phase,
                "progress": record.progress,
                "eta_seconds": eta,
            }
            if record.state is State.RUNNING:  # "cancelling" stays readable until the end
                record.message = progress.message
            events.append(session, record, now, "progress", progress.message, data=data)
            return record.state

    def log(
        self,
        job_id: str,
        epoch: int,
        message: str,
        now: datetime,
        *,
        level: events.Level = "info",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a line to the job's history."""
        with self._database.write() as session:
            record = _owned(session, job_id, epoch)
            events.append(session, record, now, "log", message, level=level, data=dict(data or {}))

    def planned(self, job_id: str, epoch: int, forecast: Forecast, now: datetime) -> State:
        """Keep what the run will take, and tell it in the history."""
        plan = asdict(forecast)
        with self._database.write() as session:
            record = _owned(session, job_id, epoch)
            record.plan = plan
            events.append(session, record, now, "log", words(forecast), data={"plan": plan})
            return record.state

    def spent(
        self,
        job_id: str,
        epoch: int,
        phases: Mapping[str, float],
        measured: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """What a run took: seconds by phase and what else was measured, for the history and metrics."""
        told = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in phases.items())
        message = f"took {sum(phases.values()):.1f} s: {told}"
        with self._database.write() as session:
            record = _owned(session, job_id, epoch)
            data = {"seconds": dict(phases), **measured}
            events.append(session, record, now, "log", message, data=data)
            tallies.add(session, tallies.observed("phase_seconds", phases))

    def succeed(
        self, job_id: str, epoch: int, manifest_key: str, now: datetime, *, stored_bytes: int = 0
    ) -> State:
        """Name the manifest, whose objects must all be in the store: the job has its result.

        `stored_bytes` is what they take, all together.

        Returns `cancelled`, and names nothing, if the cancellation came first. Asked again, where
        a connection broke before the commit's answer came, it says `succeeded` again: LeaseLost
        would make the worker remove its result.
        """
        with self._database.write() as session:
            won = and_(JobRecord.epoch == epoch, JobRecord.manifest_key == manifest_key)
            if session.scalar(select(JobRecord.id).where(JobRecord.id == job_id, won)):
                return State.SUCCEEDED
            record = _owned(session, job_id, epoch)
            then = moves.end(session, record, State.SUCCEEDED, now)
            if then is State.SUCCEEDED:
                record.manifest_key = manifest_key
                record.stored_bytes = stored_bytes
            return then

    def fail(self, job_id: str, epoch: int, failure: Failure, now: datetime) -> State:
        """End the job with its reason. Returns `cancelled` if the cancellation came first."""
        with self._database.write() as session:
            record = _owned(session, job_id, epoch)
            return moves.end(session, record, State.FAILED, now, failure)

    def requeue(
        self,
        job_id: str,
        epoch: int,
        reason: str,
        now: datetime,
        *,
        max_attempts: int,
        **more: Unpack[Particulars],
    ) -> State:
        """The run died: queue the job for its next attempt, or fail it after the last one."""
        why = moves.Release(reason, counts=True, max_attempts=max_attempts, **more)
        return self._release(job_id, epoch, now, why)

    def give_back(self, job_id: str, epoch: int, reason: str, now: datetime) -> State:
        """The worker leaves of its own will: queue the job again, as if this run had not been."""
        why = moves.Release(reason, counts=False, outcome="given-back")
        return self._release(job_id, epoch, now, why)

    def _release(self, job_id: str, epoch: int, now: datetime, why: moves.Release) -> State:
        with self._database.write() as session:
            return moves.release(session, _owned(session, job_id, epoch), now, why)


def _taken(
    job_id: str, worker: str, now: datetime, lease_seconds: float
) -> ReturningUpdate[JobRecord]:
    """The row in the worker's hands, if it waits and nobody else is at it."""
    free = (
        select(JobRecord.id)
        .where(JobRecord.id == job_id, JobRecord.state.in_(sources_of(State.RUNNING)))
        .with_for_update(skip_locked=True)
    )
    return (
        update(JobRecord)
        .where(JobRecord.id == free.scalar_subquery())
        .values(
            state=State.RUNNING,
            epoch=JobRecord.epoch + 1,
            version=JobRecord.version + 1,
            worker=worker,
            lease_until=now + timedelta(seconds=lease_seconds),
            started_at=func.coalesce(JobRecord.started_at, now),
            message="started",
            phase=None,
            progress=0.0,
            eta_seconds=None,
            plan=null(),
        )
        .returning(JobRecord)
    )


def _unreadable(error: ValidationError) -> Failure:
    return Failure(
        code=InvalidSpec.code,
        message=f"this version cannot read the spec: {field_errors(error)}",
        remedy="Run workers of the version that accepted the job, or post it again.",
    )


def _owned_by(job_id: str, epoch: int) -> ColumnElement[bool]:
    return and_(JobRecord.id == job_id, JobRecord.epoch == epoch, JobRecord.state.in_(OWNED))


def _owned(session: Session, job_id: str, epoch: int) -> JobRecord:
    """The row, locked by its first write in this transaction, if `epoch` owns it."""
    statement = (
        update(JobRecord)
        .where(_owned_by(job_id, epoch))
        .values(version=JobRecord.version + 1)
        .returning(JobRecord)
    )
    return _or_lost(session.scalars(statement).one_or_none(), job_id, epoch)


def _or_lost(found: T | None, job_id: str, epoch: int) -> T:
    if found is None:
        raise LeaseLost(f"job {job_id} is no longer held under epoch {epoch}.")
    return found
