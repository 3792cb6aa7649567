"""Messages to receivers, as those who send them see them: due, claimed, reported, forgotten."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from core.jobs.database import Database
from core.jobs.delivery_records import AttemptRecord, DeliveryRecord
from core.jobs.delivery_views import DeliveryState

KEPT_ATTEMPTS: Final = 25  # of one delivery; older ones give way
_BATCH: Final = 500
_LOOKED_AT: Final = 16  # of one tenant in one look; the next look takes the next ones


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come, and who might have to wait behind it."""

    id: str
    tenant: str
    host: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery in the hands of one sender."""

    id: str
    claim: int
    tenant: str
    is_test: bool
    url: str
    body: str
    failures: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try, and of the delivery by it."""

    state: DeliveryState
    next_at: datetime
    """Looked at only while it is pending."""
    attempted_at: datetime
    seconds: float
    status: int | None
    error: str | None


class SenderSide:
    """Find, claim, report, forget. Safe to be used by every worker at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: datetime, longest: timedelta, *, limit: int) -> list[Due]:
        """Deliveries whose time has come. Tenants take turns, and of each tenant its hosts do, so
        that however much one has in the queue, nobody else's waits behind all of it."""
        of_host = func.row_number().over(
            partition_by=(DeliveryRecord.tenant, DeliveryRecord.host),
            order_by=(DeliveryRecord.next_at, DeliveryRecord.id),
        )
        columns = (
            DeliveryRecord.id,
            DeliveryRecord.tenant,
            DeliveryRecord.host,
            DeliveryRecord.next_at,
        )
        each = select(*columns, of_host.label("place")).where(_is_due(now, longest)).subquery()
        turn = func.row_number().over(
            partition_by=each.c.tenant, order_by=(each.c.place, each.c.next_at, each.c.id)
        )
        queue = select(each, turn.label("turn")).subquery()
        statement = (
            select(queue.c.id, queue.c.tenant, queue.c.host)
            .where(queue.c.turn <= _LOOKED_AT)
            .order_by(queue.c.turn, queue.c.next_at, queue.c.id)
            .limit(limit)
        )
        with self._database.read() as session:
            return [Due(*row) for row in session.execute(statement).all()]

    def claim(
        self, delivery_id: str, now: datetime, longest: timedelta, lease: timedelta
    ) -> Parcel | None:
        """Take a delivery that is still due. Of several senders exactly one gets it.

        If nothing is heard of it until the lease is over, it is due again.
        """
        free = (
            select(DeliveryRecord.id)
            .where(DeliveryRecord.id == delivery_id, _is_due(now, longest))
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(DeliveryRecord)
            .where(DeliveryRecord.id == free.scalar_subquery())
            .values(claims=DeliveryRecord.claims + 1, next_at=now + lease)
            .returning(DeliveryRecord)
        )
        with self._database.write() as session:
            record = session.scalars(statement).one_or_none()
            if record is None:
                return None
            return Parcel(
                record.id,
                record.claims,
                record.tenant,
                record.job_id is None,
                record.url,
                record.body,
                record.failures,
            )

    def report(self, parcel: Parcel, outcome: Outcome) -> bool:
        """Write down how a try went; False, and nothing, if another sender has it by now."""
        delivered = outcome.state is DeliveryState.DELIVERED
        statement = (
            update(DeliveryRecord)
            .where(
                DeliveryRecord.id == parcel.id,
                DeliveryRecord.claims == parcel.claim,
                DeliveryRecord.state == DeliveryState.PENDING,
            )
            .values(
                state=outcome.state,
                next_at=outcome.next_at,
                attempts=DeliveryRecord.attempts + 1,
                failures=0 if delivered else DeliveryRecord.failures + 1,
                last_status=outcome.status,
                last_error=outcome.error,
                delivered_at=outcome.attempted_at if delivered else None,
            )
            .returning(DeliveryRecord.attempts)
        )
        with self._database.write() as session:
            number = session.scalars(statement).one_or_none()
            if number is None:
                return False
            session.add(_attempt(parcel.id, number, outcome))
            session.execute(
                delete(AttemptRecord).where(
                    AttemptRecord.delivery_id == parcel.id,
                    AttemptRecord.number <= number - KEPT_ATTEMPTS,
                )
            )
            return True

    def forget(self, before: datetime) -> int:
        """Remove deliveries from before then that are over; as many as one transaction should."""
        old = (
            select(DeliveryRecord.id)
            .where(
                DeliveryRecord.state != DeliveryState.PENDING, DeliveryRecord.created_at < before
            )
            .limit(_BATCH)
        )
        statement = delete(DeliveryRecord).where(DeliveryRecord.id.in_(old))
        with self._database.write() as session:
            gone = session.execute(statement.returning(DeliveryRecord.id)).all()
        return len(gone)


def _is_due(now: datetime, longest: timedelta) -> ColumnElement[bool]:
    """A time further away than any wait there is was written by a clock that has since been set
    back; nobody should wait for it to come round again."""
    come = or_(DeliveryRecord.next_at <= now, DeliveryRecord.next_at > now + longest)
    return and_(DeliveryRecord.state == DeliveryState.PENDING, come)


def _attempt(delivery_id: str, number: int, outcome: Outcome) -> AttemptRecord:
    return AttemptRecord(
        delivery_id=delivery_id,
        number=number,
        at=outcome.attempted_at,
        seconds=outcome.seconds,
        status=outcome.status,
        error=outcome.error,
    )
