"""The tables of webhooks: what is to be told, each try of it, and what it is signed with."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Enum, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.delivery_views import DeliveryState
from core.jobs.records import Base, UtcTime, Words


def _values(states: type[DeliveryState]) -> list[str]:
    return [state.value for state in states]


class DeliveryRecord(Base):
    """One message to one receiver. Written in the transaction of the move that it tells of."""

    __tablename__ = "deliveries"

    # "msg_", the job's 24 digits and the number of its event: the receiver's `webhook-id`.
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    # None for a test.
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant: Mapped[str] = mapped_column(String(64))
    # Number of the job's event that it tells of; orders a job's deliveries.
    number: Mapped[int] = mapped_column(Integer)
    # job.succeeded, webhook.test, …: the `type` within the body.
    event: Mapped[str] = mapped_column(String(32))
    url: Mapped[str] = mapped_column(Text)
    # The url's host, by which slow receivers are kept from delaying others.
    host: Mapped[str] = mapped_column(String(255))
    # The body, byte for byte: every try sends the same.
    body: Mapped[str] = mapped_column(Text)

    state: Mapped[DeliveryState] = mapped_column(
        Enum(DeliveryState, native_enum=False, length=16, values_callable=_values)
    )
    # When a pending one is due. While it is being sent: when its sender is taken for dead.
    next_at: Mapped[datetime] = mapped_column(UtcTime)
    # Raised by every claim. Whoever reports with an older one was taken for dead meanwhile.
    claims: Mapped[int] = mapped_column(Integer)
    # Tries in all, and in vain since it was last asked for.
    attempts: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer)
    last_status: Mapped[int | None] = mapped_column(Integer)
    last_error: Mapped[str | None] = mapped_column(Words)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)

    __table_args__ = (
        Index(None, "state", "next_at"),
        Index(None, "job_id", "number"),
    )


class AttemptRecord(Base):
    """One try. No byte of an answer's body is kept: it may hold anything."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcTime)
    seconds: Mapped[float] = mapped_column(Float)
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Words)


class SecretRecord(Base):
    """What a tenant's messages are signed with. Kept readable: a signature cannot be made of a hash."""

    __tablename__ = "webhook_secrets"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    secret: Mapped[str] = mapped_column(String(128))
    since: Mapped[datetime] = mapped_column(UtcTime)
    # Earlier ones, newest first: [{"secret": …, "until": …}]. They sign, too, until then.
    previous: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
