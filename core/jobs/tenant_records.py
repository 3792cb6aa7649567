"""The tables of who may have what, and of who did what."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.jobs.records import Base, UtcTime


def _new_id() -> str:
    # Random, because counting up would tell one tenant how much the others do.
    return f"aud_{secrets.token_hex(12)}"


class TenantRecord(Base):
    """A tenant whose quota was set over HTTP. The settings are asked about all others."""

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    # A whole core.quotas.Quota: it replaces the settings' row, and nothing of that shines through.
    quota: Mapped[dict[str, Any]] = mapped_column(JSON)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)


class AuditRecord(Base):
    """One deed. Written once, in the transaction of the deed where that has one."""

    __tablename__ = "audit"

    # "aud_" and 24 hexadecimal digits.
    id: Mapped[str] = mapped_column(String(28), primary_key=True, default=_new_id)
    at: Mapped[datetime] = mapped_column(UtcTime)
    # Whose key did it, and which one. No tenant: a key that is none, or the command line.
    tenant: Mapped[str | None] = mapped_column(String(64))
    key_id: Mapped[str | None] = mapped_column(String(16))
    # job.submit, key.revoke, …, and what it was done to.
    action: Mapped[str] = mapped_column(String(32))
    target: Mapped[str | None] = mapped_column(String(100))
    # "done", or the code of the refusal.
    outcome: Mapped[str] = mapped_column(String(32))
    # Where it came from, as far as the server can tell.
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    # A few words more, such as a new key's scopes. Never a secret, never a spec.
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (Index(None, "tenant", "at", "id"), Index(None, "at", "id"))
