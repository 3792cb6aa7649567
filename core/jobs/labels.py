"""The table by which jobs are found by their metadata."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, ForeignKey, Index, String, exists, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.jobs.records import Base, JobRecord, UtcTime


class LabelRecord(Base):
    """One entry of a job's `labels`. Written with the job, and never changed."""

    __tablename__ = "labels"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(512))
    # The job's: a page of a list is read off the index, however many jobs have the label.
    tenant: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    __table_args__ = (Index("ix_labels_listed", "tenant", "key", "value", "created_at", "job_id"),)


_TABLE: Final = Base.metadata.tables[LabelRecord.__tablename__]
_INSERT: Final = insert(_TABLE)


def put(session: Session, record: JobRecord) -> None:
    """Write those of a new job."""
    if record.labels:
        session.flush()  # the row they refer to
        session.execute(
            _INSERT,
            [
                {
                    "job_id": record.id,
                    "key": key,
                    "value": value,
                    "tenant": record.tenant,
                    "created_at": record.created_at,
                }
                for key, value in record.labels.items()
            ],
        )


def has(key: str, value: str) -> ColumnElement[bool]:
    """Whether the job of a query has a label, looked up job by job."""
    label = _TABLE.alias()
    return exists().where(
        label.c.job_id == JobRecord.__table__.c.id, label.c.key == key, label.c.value == value
    )
