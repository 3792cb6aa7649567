"""Jobs that are posted once, however often the request arrives.

The key is written in the transaction that writes the job: no crash leaves a job without its key,
and the primary key leaves no room for a second one.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, ForeignKey, Index, String, and_, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs import attempts
from core.jobs.audit import Actor
from core.jobs.clients import add_job, view
from core.jobs.database import Database
from core.jobs.origin import UNKNOWN, Origin
from core.jobs.records import Base, JobRecord, UtcTime
from core.jobs.views import Job
from core.quotas import NO_QUOTAS, Quotas
from core.spec import JobSpec

KEPT: Final = timedelta(hours=24)
"""How long a key means the job it was first sent for."""


class IdempotencyRecord(Base):
    """One key of one tenant, and the job it made."""

    __tablename__ = "idempotency_keys"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    # 1 to 255 visible ASCII characters, as the client chose them.
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    # Hexadecimal, of the body that came with it.
    sha256: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    __table_args__ = (Index(None, "job_id"), Index(None, "created_at"))


@dataclass(frozen=True, slots=True)
class Once:
    """A client's key, and the digest of what it sent under it."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The job that stands for a request."""

    job: Job
    replayed: bool
    """Whether an earlier request made it."""


def digest_of(payload: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, whatever the order of its members and the space between them.

    What was sent, not what it means: another version may read other defaults into it, and a
    request that is repeated over an upgrade is still the same one.
    """
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class IdempotencySide:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: set[tuple[str, str]] = set()
        self._in_flight_lock = threading.Lock()

    def create_once(
        self,
        tenant: str,
        spec: JobSpec,
        now: datetime,
        once: Once,
        origin: Origin = UNKNOWN,
        *,
        quotas: Quotas = NO_QUOTAS,
        by: Actor | None = None,
    ) -> Posted:
        """Accept a job, unless `once.key` has made one within a day: then that one again.

        Raises:
            QueueFull, StorageFull: the tenant has as much as it may; what it has is answered still.
            IdempotencyKeyReused: the key came with another body.
            IdempotencyKeyInFlight: a request with the key is being carried out at this moment.
        """
        with self._alone(tenant, once.key), self._database.write() as session:
            lock_key(session, tenant, once.key)
            mine = and_(IdempotencyRecord.tenant == tenant, IdempotencyRecord.key == once.key)
            if earlier := _replayed(session, mine, once, now):
                return earlier
            session.execute(delete(IdempotencyRecord).where(mine))
            record = add_job(session, tenant, spec, now, origin, quotas=quotas, by=by)
            session.add(
                IdempotencyRecord(
                    tenant=tenant,
                    key=once.key,
                    sha256=once.sha256,
                    job_id=record.id,
                    created_at=now,
                )
            )
        return Posted(view(record, ()), replayed=False)

    def forget_keys(self, now: datetime) -> int:
        """Remove the keys that have outlived their day; how many there were."""
        old = IdempotencyRecord.created_at <= now - KEPT
        with self._database.read() as session:
            if session.scalar(select(IdempotencyRecord.key).where(old).limit(1)) is None:
                return 0
        with self._database.write() as session:
            gone = session.execute(
                delete(IdempotencyRecord).where(old).returning(IdempotencyRecord.key)
            )
            return len(gone.all())

    @contextmanager
    def _alone(self, tenant: str, key: str) -> Iterator[None]:
        """Raise IdempotencyKeyInFlight while another thread of this process is at the key."""
        mine = tenant, key
        with self._in_flight_lock:
            if mine in self._in_flight:
                raise IdempotencyKeyInFlight
            self._in_flight.add(mine)
        try:
            yield
        finally:
            with self._in_flight_lock:
                self._in_flight.discard(mine)


def _replayed(
    session: Session, mine: ColumnElement[bool], once: Once, now: datetime
) -> Posted | None:
    """The job that the key stands for, as long as it does."""
    # In one statement: between two the job could be deleted.
    statement = (
        select(IdempotencyRecord.sha256, JobRecord)
        .join(JobRecord, JobRecord.id == IdempotencyRecord.job_id)
        .where(mine, IdempotencyRecord.created_at > now - KEPT)
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        return None
    sha256, record = found
    if sha256 != once.sha256:
        raise IdempotencyKeyReused
    return Posted(view(record, attempts.of(session, record)), replayed=True)


def lock_key(session: Session, tenant: str, key: str) -> None:
    """Raise IdempotencyKeyInFlight while another process is at the key.

    SQLite has one writer, so a second one is only here once the first is done.
    """
    if session.get_bind().dialect.name == "postgresql":
        seed = hashlib.sha256(f"{tenant}\0{key}".encode()).digest()
        number = int.from_bytes(seed[:8], signed=True)
        if not session.scalar(select(func.pg_try_advisory_xact_lock(number))):
            raise IdempotencyKeyInFlight
