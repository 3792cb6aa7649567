"""A job's history: how a line gets its number, and pages of it."""

from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.jobs.records import Base, EventRecord, JobRecord
from core.jobs.views import Event, EventPage

Level = Literal["info", "warning", "error"]
EventType = Literal["state", "progress", "log"]

# Into the table, not the class: nobody looks at the line again, and the unit of work costs more.
_INSERT: Final = insert(Base.metadata.tables[EventRecord.__tablename__])


def append(
    session: Session,
    record: JobRecord,
    now: datetime,
    event_type: EventType,
    message: str,
    *,
    level: Level = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Add the next event of `record`, whose row this transaction must have written or locked."""
    record.last_event += 1
    # The session writes the job's row first, so a new job needs no second look at its number.
    session.execute(
        _INSERT,
        {
            "job_id": record.id,
            "number": record.last_event,
            "created_at": now,
            "level": level,
            "type": event_type,
            "message": message,
            "data": data or {},
        },
    )


def page(session: Session, job_id: str, *, after: int, limit: int) -> EventPage:
    """Events with numbers above `after`, oldest first."""
    query = (
        select(EventRecord)
        .where(EventRecord.job_id == job_id, EventRecord.number > after)
        .order_by(EventRecord.number)
        .limit(limit + 1)
    )
    found = session.scalars(query).all()
    data = [_view(record) for record in found[:limit]]
    has_more = len(found) > limit
    return EventPage(data=data, has_more=has_more, next=str(data[-1].id) if has_more else None)


def _view(record: EventRecord) -> Event:
    return Event.model_validate(
        {
            "id": record.number,
            "created_at": record.created_at,
            "level": record.level,
            "type": record.type,
            "message": record.message,
            "data": record.data,
        }
    )
