"""Whether a tenant may have one more: asked in the very transaction that then lets it have it.

Two transactions of one tenant that both found room for one more would both take it. So whoever
counts holds the tenant until its transaction ends: on PostgreSQL by an advisory lock, on SQLite
because a transaction that writes is the only one.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from core.jobs.records import JobRecord
from core.jobs.states import OWNED, State
from core.jobs.tenant_records import TenantRecord
from core.jobs.tenant_views import Usage
from core.limit_errors import QueueFull, StorageFull
from core.quotas import Quota, Quotas

_LOCKS: Final = 0x7465_6E61  # a space of its own among advisory locks


def hold(session: Session, tenant: str) -> None:
    """Let no other transaction of the tenant count until this one ends; first of all locks."""
    if session.get_bind().dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, :space))")
        session.execute(lock, {"tenant": tenant, "space": _LOCKS})


def quota_of(session: Session, tenant: str, quotas: Quotas) -> Quota:
    """The tenant's quota: as it was set in the database, else as the settings have it."""
    return quota_from(session.scalar(quota_set_for(tenant)), tenant, quotas)


def quota_set_for(tenant: str) -> Select[dict[str, Any]]:
    """Asks for the quota that the database has for the tenant."""
    return select(TenantRecord.quota).where(TenantRecord.name == tenant)


def quota_from(set_here: dict[str, Any] | None, tenant: str, quotas: Quotas) -> Quota:
    """As it was set in the database; where it was not, as the settings have it."""
    return quotas.quota_for(tenant) if set_here is None else Quota.model_validate(set_here)


def usage_of(session: Session, tenant: str) -> Usage:
    return Usage(
        queued_jobs=_jobs(session, tenant, [State.QUEUED]),
        running_jobs=_jobs(session, tenant, OWNED),
        stored_bytes=_stored(session, tenant),
    )


def admit(session: Session, tenant: str, quotas: Quotas, more: int = 1) -> None:
    """Raise QueueFull or StorageFull unless this transaction may queue `more` jobs more."""
    quota = quota_of(session, tenant, quotas)
    if quota.queued_jobs is None and quota.stored_bytes is None:
        return
    hold(session, tenant)
    if quota.queued_jobs is not None:
        queued = _jobs(session, tenant, [State.QUEUED])
        if queued + more > quota.queued_jobs:
            raise QueueFull(tenant, queued, quota.queued_jobs, more)
    if quota.stored_bytes is not None:
        stored = _stored(session, tenant)
        if stored >= quota.stored_bytes:
            raise StorageFull(tenant, stored, quota.stored_bytes)


def may_start(session: Session, job_id: str, quotas: Quotas) -> bool:
    """Whether this transaction may let the job run beside those of its tenant that do."""
    tenant = session.scalar(select(JobRecord.tenant).where(JobRecord.id == job_id))
    if tenant is None:
        return True  # there is no such job, which the claim itself finds out
    limit = quota_of(session, tenant, quotas).running_jobs
    if limit is None:
        return True
    hold(session, tenant)
    return _jobs(session, tenant, OWNED) < limit


def busy_tenants(session: Session, quotas: Quotas) -> list[str]:
    """Tenants that run as many jobs as they may: none of theirs is to be started now."""
    statement = (
        select(JobRecord.tenant, func.count())
        .where(JobRecord.state.in_(OWNED))
        .group_by(JobRecord.tenant)
    )
    rows: Any = session.execute(statement).all()
    running: dict[str, int] = dict(rows)
    return [
        tenant
        for tenant, quota in quotas_of(session, running, quotas).items()
        if quota.running_jobs is not None and running[tenant] >= quota.running_jobs
    ]


def quotas_of(session: Session, tenants: Collection[str], quotas: Quotas) -> dict[str, Quota]:
    """The quota of each of the tenants."""
    rows: Any = session.execute(select(TenantRecord.name, TenantRecord.quota)).all()
    set_here = {name: Quota.model_validate(quota) for name, quota in rows}
    return {tenant: set_here.get(tenant) or quotas.quota_for(tenant) for tenant in tenants}


def _jobs(session: Session, tenant: str, states: Collection[State]) -> int:
    statement = select(func.count()).where(JobRecord.tenant == tenant, JobRecord.state.in_(states))
    return session.scalar(statement.select_from(JobRecord)) or 0


def _stored(session: Session, tenant: str) -> int:
    # A result that expired or was deleted has no manifest any more, and counts no more.
    statement = select(func.sum(JobRecord.stored_bytes)).where(
        JobRecord.tenant == tenant, JobRecord.manifest_key.is_not(None)
    )
    return int(session.scalar(statement) or 0)
