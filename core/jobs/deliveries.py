"""Messages to receivers, as the tenants see them whose jobs they tell of."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import JobNotFound
from core.jobs import audit
from core.jobs.audit import Actor
from core.jobs.database import Database
from core.jobs.delivery_records import AttemptRecord, DeliveryRecord
from core.jobs.delivery_views import Delivery, DeliveryAttempt, DeliveryPage, DeliveryState
from core.jobs.notices import TestMessage
from core.jobs.outgoing import SenderSide
from core.jobs.records import JobRecord
from core.jobs.small_stores import SmallStore
from core.webhooks.errors import DeliveryNotFound
from core.webhooks.signing import Entropy
from core.webhooks.urls import Target


class TenantSide:
    """List, read, repeat, try out. Every question says whose deliveries it means."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, tenant: str, job_id: str, *, after: int = 0, limit: int = 100) -> DeliveryPage:
        """The job's deliveries that tell of events above `after`, oldest first. Raises JobNotFound."""
        query = (
            select(DeliveryRecord)
            .where(DeliveryRecord.job_id == job_id, DeliveryRecord.number > after)
            .order_by(DeliveryRecord.number)
            .limit(limit + 1)
        )
        with self._database.read() as session:
            _check_job(session, tenant, job_id)
            found = session.scalars(query).all()
            data = _views(session, found[:limit])
        has_more = len(found) > limit
        return DeliveryPage(
            data=data, has_more=has_more, next=str(found[limit - 1].number) if has_more else None
        )

    def get(self, tenant: str, delivery_id: str) -> Delivery:
        """One delivery. Raises DeliveryNotFound, also for another tenant's."""
        query = select(DeliveryRecord).where(
            DeliveryRecord.id == delivery_id, DeliveryRecord.tenant == tenant
        )
        with self._database.read() as session:
            record = session.scalars(query).one_or_none()
            if record is None:
                raise DeliveryNotFound(delivery_id)
            return _views(session, [record])[0]

    def redeliver(
        self,
        tenant: str,
        job_id: str,
        delivery_id: str,
        now: datetime,
        *,
        by: Actor | None = None,
    ) -> Delivery:
        """Send it again, now, with as many tries as a new one has; under the same id.

        Raises:
            JobNotFound, DeliveryNotFound.
        """
        statement = (
            update(DeliveryRecord)
            .where(
                DeliveryRecord.id == delivery_id,
                DeliveryRecord.job_id == job_id,
                DeliveryRecord.tenant == tenant,
            )
            .values(
                state=DeliveryState.PENDING,
                next_at=now,
                # Who is sending it at this moment reports in vain: it is sent again all the same.
                claims=DeliveryRecord.claims + 1,
                failures=0,
                delivered_at=None,
            )
            .returning(DeliveryRecord)
        )
        with self._database.write() as session:
            _check_job(session, tenant, job_id)
            record = session.scalars(statement).one_or_none()
            if record is None:
                raise DeliveryNotFound(delivery_id)
            audit.note(session, by, now, "webhook.redeliver", record.id)
            return _views(session, [record])[0]

    def test(
        self,
        tenant: str,
        url: str,
        target: Target,
        now: datetime,
        entropy: Entropy,
        *,
        by: Actor | None = None,
    ) -> Delivery:
        """Queue a message that tells of no job. It is sent once."""
        message = TestMessage(timestamp=now)
        record = DeliveryRecord(
            id=f"msg_test_{entropy(12).hex()}",
            tenant=tenant,
            number=0,
            event=message.type,
            url=url,
            host=target.host,
            body=message.model_dump_json(),
            state=DeliveryState.PENDING,
            next_at=now,
            claims=0,
            attempts=0,
            failures=0,
            created_at=now,
        )
        with self._database.write() as session:
            session.add(record)
            session.flush()
            # Its URL may hold a token, and can be read in the delivery as long as that is kept.
            audit.note(session, by, now, "webhook.test", record.id, host=target.host)
            return _views(session, [record])[0]


class DeliveryStore(TenantSide, SenderSide, SmallStore):
    """Deliveries from both sides."""


def _check_job(session: Session, tenant: str, job_id: str) -> None:
    query = select(JobRecord.id).where(JobRecord.id == job_id, JobRecord.tenant == tenant)
    if session.scalar(query) is None:
        raise JobNotFound(job_id)


def _views(session: Session, records: Sequence[DeliveryRecord]) -> list[Delivery]:
    query = (
        select(AttemptRecord)
        .where(AttemptRecord.delivery_id.in_([record.id for record in records]))
        .order_by(AttemptRecord.number)
    )
    tries: dict[str, list[DeliveryAttempt]] = {}
    for attempt in session.scalars(query):
        found = DeliveryAttempt.model_validate(attempt, from_attributes=True)
        tries.setdefault(attempt.delivery_id, []).append(found)
    return [_view(record, tries.get(record.id, [])) for record in records]


def _view(record: DeliveryRecord, log: list[DeliveryAttempt]) -> Delivery:
    waits = record.state is DeliveryState.PENDING
    return Delivery(
        id=record.id,
        job_id=record.job_id,
        event=record.event,
        url=record.url,
        state=record.state,
        attempts=record.attempts,
        next_at=record.next_at if waits else None,
        last_status=record.last_status,
        last_error=record.last_error,
        created_at=record.created_at,
        delivered_at=record.delivered_at,
        log=log,
    )
