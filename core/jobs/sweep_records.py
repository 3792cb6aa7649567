"""The table of sweeps. Their jobs name them in `jobs.sweep_id`."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.records import Base, UtcTime


class SweepRecord(Base):
    """What was asked for. How it stands follows from its jobs, so nothing here ever moves."""

    __tablename__ = "sweeps"

    # "swp_" and 24 hexadecimal digits.
    id: Mapped[str] = mapped_column(String(28), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(100))
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    # {base, grid, preset}, as posted.
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    # What the grid says of each job, in order; their number is that of the jobs.
    cells: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    # Since when no client sees it any more; the row goes once its objects have.
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    # The Idempotency-Key it was made under, for as long as that means this sweep, and the body's SHA-256.
    once_key: Mapped[str | None] = mapped_column(String(255))
    once_sha256: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        Index(None, "tenant", "created_at", "id"),
        Index("ix_sweeps_once", "tenant", "once_key", unique=True),
        Index(
            None,
            "deleted_at",
            sqlite_where=text("deleted_at IS NOT NULL"),
            postgresql_where=text("deleted_at IS NOT NULL"),
        ),
    )
