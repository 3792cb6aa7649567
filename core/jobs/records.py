"""The tables. Everything that must survive a crash is in one of these."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.jobs.states import State


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite keeps no zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text for people, from anywhere. PostgreSQL keeps no NUL, so a mark stands in its place."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the library's signature
        return value and value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _values(states: type[State]) -> list[str]:
    return [state.value for state in states]


class Base(DeclarativeBase):
    # Names that migrations can refer to on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        }
    )


class JobRecord(Base):
    """One job: the truth about it. Queue messages are only hints to read this row."""

    __tablename__ = "jobs"

    # "job_" and 24 hexadecimal digits.
    id: Mapped[str] = mapped_column(String(28), primary_key=True)
    # Whose job it is; every client query says which tenant asks.
    tenant: Mapped[str] = mapped_column(String(64))

    # Moved only along core.jobs.states.NEXT.
    state: Mapped[State] = mapped_column(
        Enum(State, native_enum=False, length=16, values_callable=_values)
    )
    # What the run is doing, how far it is (0…1), and a line about it.
    phase: Mapped[str | None] = mapped_column(String(16))
    progress: Mapped[float] = mapped_column(Float)
    message: Mapped[str] = mapped_column(Words)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    # {code, message, remedy, log} of a failed job.
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # The core.progress.Forecast of the last run, once it had one.
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # What the next runs may use at most, after one whose memory ran out.
    memory_budget: Mapped[int | None] = mapped_column(BigInteger)

    # The run that counts towards the limit of attempts: 1 is the first. Giving a job back at a
    # worker's own shutdown does not count.
    attempt: Mapped[int] = mapped_column(Integer)
    # Raised by every claim. Whoever writes with an older epoch has lost the job.
    epoch: Mapped[int] = mapped_column(Integer)
    # Who holds the job, and until when unless renewed.
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    # Store key of the manifest of the run that won. Set in the transaction that succeeds, and
    # taken away in the one in which the result expires.
    manifest_key: Mapped[str | None] = mapped_column(String(255))
    # All files of that manifest. It counts towards the tenant's quota as long as there is a manifest.
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    # Whether the objects of runs that did not win have been removed after the end.
    swept: Mapped[bool] = mapped_column(default=False)

    # Increases with every change that a client can see.
    version: Mapped[int] = mapped_column(Integer)
    # Number of the newest event: numbers come from here, so there is never a gap.
    last_event: Mapped[int] = mapped_column(Integer)

    created_at: Mapped[datetime] = mapped_column(UtcTime)
    # Since when the job waits; later than created_at once it has been requeued.
    queued_at: Mapped[datetime] = mapped_column(UtcTime)
    # First claim, terminal state, and the end of the artifacts by retention.
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expired_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Since when no client sees it any more; the row goes once its objects have.
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)

    # The JobSpec as posted, and copies of what lists filter and workers order by.
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    method: Mapped[str] = mapped_column(String(32))
    model: Mapped[str] = mapped_column(String(1024))
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    priority: Mapped[int] = mapped_column(Integer)
    # The sweep that asked for it, if one did, and its number there, from 1.
    sweep_id: Mapped[str | None] = mapped_column(String(28))
    sweep_cell: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (
        Index(None, "sweep_id", "sweep_cell"),
        Index(None, "tenant", "created_at", "id"),
        Index(None, "state", "lease_until"),
        # Of nothing else: SQLite would take it for queries of all the others, too.
        Index(
            None,
            "deleted_at",
            sqlite_where=text("deleted_at IS NOT NULL"),
            postgresql_where=text("deleted_at IS NOT NULL"),
        ),
        # As core.jobs.order reads it: nothing is left to sort but one row of each tenant.
        Index("ix_jobs_order", "state", "tenant", priority.desc(), "created_at", "id"),
        Index(None, "tenant", "state", "created_at", "id"),
        Index(None, "tenant", "method", "created_at", "id"),
        Index(
            None,
            "tenant",
            "stored_bytes",
            "manifest_key",
            sqlite_where=text("manifest_key IS NOT NULL"),
            postgresql_where=text("manifest_key IS NOT NULL"),
        ),
    )


class AttemptRecord(Base):
    """One run of a job. Written in the transactions in which the job is claimed and let go."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    # The job's epoch while it ran: each claim has its own.
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # The job's attempt, which runs that were given back share with the one after them.
    number: Mapped[int] = mapped_column(Integer)
    worker: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # One of core.jobs.views.Outcome.
    outcome: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Words)


class TurnRecord(Base):
    """When a tenant was last served, in claims since the beginning. Outlives its jobs: whoever deletes
    them is not served sooner for it."""

    __tablename__ = "turns"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    turn: Mapped[int] = mapped_column(BigInteger)


class WorkerRecord(Base):
    """A worker that says it lives. Its id is what `jobs.worker` holds while it carries one out."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    device: Mapped[str] = mapped_column(String(64))
    # Of core.jobs.presence.Gpu.
    gpus: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    last_seen: Mapped[datetime] = mapped_column(UtcTime)
    # How many seconds after `last_seen` it meant to say so again.
    again_in: Mapped[float] = mapped_column(Float)


class EventRecord(Base):
    """One line of a job's history. Written once, in the transaction of the change it tells of."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    # 1, 2, 3, … within the job.
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    # info, warning or error.
    level: Mapped[str] = mapped_column(String(8))
    # state, progress or log.
    type: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Words)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class TallyRecord(Base):
    """A part of one count of core.jobs.tallies, which is the sum of its rows."""

    __tablename__ = "tallies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(32))
    # What is told apart: an outcome, a reason, a phase; empty where there is nothing to.
    label: Mapped[str] = mapped_column(String(32))
    bucket: Mapped[str] = mapped_column(String(16))
    value: Mapped[float] = mapped_column(Double)


class KeyRecord(Base):
    """One API key. Never deleted: that there was one is what closes the server to strangers."""

    __tablename__ = "api_keys"

    # "key_" and 12 hexadecimal digits, which are also in the key itself.
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    # Whose jobs it opens.
    tenant: Mapped[str] = mapped_column(String(64))
    # What it is for, in the operator's words.
    name: Mapped[str] = mapped_column(String(100))
    # How the key begins: enough to tell it from others in a list, and no help in guessing it.
    prefix: Mapped[str] = mapped_column(String(16))
    # Hexadecimal, of the whole key.
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # Up to a minute behind.
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
