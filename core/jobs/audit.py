"""Who did what: one line for every deed, written in its transaction, and pages of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, delete, insert, or_, select
from sqlalchemy.orm import Session

from core.jobs.audit_views import AuditEntry, AuditPage
from core.jobs.cursors import cursor_of, place_of
from core.jobs.database import Database
from core.jobs.records import Base
from core.jobs.tenant_records import AuditRecord

DONE: Final = "done"
_INSERT: Final = insert(Base.metadata.tables[AuditRecord.__tablename__])
_BATCH: Final = 1000  # lines forgotten in one transaction, so that no writer waits long


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf something is done, and from where."""

    tenant: str | None
    key_id: str | None = None
    address: str | None = None
    request_id: str | None = None


COMMAND_LINE: Final = Actor(tenant=None, address="command line")
"""Whoever can write the database needs no key."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Entries that match all that is given."""

    tenant: str | None = None
    action: str | None = None
    key_id: str | None = None
    target: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    """From this moment on."""
    until: datetime | None = None
    """Before this moment."""


def note(
    session: Session,
    by: Actor | None,
    now: datetime,
    action: str,
    target: str | None = None,
    *,
    outcome: str = DONE,
    **detail: Any,
) -> None:
    """Write that `by` did it, unless the deed is nobody's; to be called in its transaction."""
    if by is None:
        return
    session.execute(
        _INSERT,
        {
            "at": now,
            "tenant": by.tenant,
            "key_id": by.key_id,
            "action": action,
            "target": target,
            "outcome": outcome,
            "address": by.address,
            "request_id": by.request_id,
            "detail": detail,
        },
    )


class AuditSide:
    """The log as the API and `secateur audit` read it. Nobody changes a line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        by: Actor,
        now: datetime,
        action: str,
        target: str | None = None,
        *,
        outcome: str = DONE,
    ) -> None:
        """Write a deed that changes nothing else in the database, or an attempt that was refused."""
        with self._database.write() as session:
            note(session, by, now, action, target, outcome=outcome)

    def audit(self, wanted: AuditFilter, *, limit: int = 50, after: str | None = None) -> AuditPage:
        """What was done, newest first.

        Raises:
            InvalidSpec: `after` is not a cursor from an earlier page.
        """
        query = select(AuditRecord).where(*_conditions(wanted))
        if after is not None:
            moment, entry_id = place_of(after)
            same = and_(AuditRecord.at == moment, AuditRecord.id < entry_id)
            query = query.where(or_(AuditRecord.at < moment, same))
        query = query.order_by(AuditRecord.at.desc(), AuditRecord.id.desc()).limit(limit + 1)
        with self._database.read() as session:
            found = session.scalars(query).all()
            data = [AuditEntry.model_validate(e, from_attributes=True) for e in found[:limit]]
        more = len(found) > limit
        return AuditPage(
            data=data, has_more=more, next=cursor_of(data[-1].at, data[-1].id) if more else None
        )

    def forget_audit(self, before: datetime) -> int:
        """Remove what was done before that moment; how many lines went."""
        forgotten = 0
        while True:
            old = select(AuditRecord.id).where(AuditRecord.at < before).limit(_BATCH)
            with self._database.write() as session:
                ids = session.scalars(old).all()
                session.execute(delete(AuditRecord).where(AuditRecord.id.in_(ids)))
            forgotten += len(ids)
            if len(ids) < _BATCH:
                return forgotten


def _conditions(wanted: AuditFilter) -> list[Any]:
    same = {
        AuditRecord.tenant: wanted.tenant,
        AuditRecord.action: wanted.action,
        AuditRecord.key_id: wanted.key_id,
        AuditRecord.target: wanted.target,
        AuditRecord.outcome: wanted.outcome,
    }
    conditions: list[Any] = [column == value for column, value in same.items() if value is not None]
    if wanted.since is not None:
        conditions.append(AuditRecord.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditRecord.at < wanted.until)
    return conditions
