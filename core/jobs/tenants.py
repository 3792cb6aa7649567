"""Tenants as the API shows them: what each has, what it may have, and who may change that."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.jobs import audit
from core.jobs.admission import (
    busy_tenants,
    quota_from,
    quota_of,
    quota_set_for,
    quotas_of,
    usage_of,
)
from core.jobs.audit import Actor
from core.jobs.database import Database
from core.jobs.records import JobRecord, KeyRecord
from core.jobs.states import OWNED, State
from core.jobs.tenant_records import TenantRecord
from core.jobs.tenant_views import TenantUsage, Usage
from core.quotas import Quota, Quotas


class TenantSide:
    """Raises StoreUnavailable where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(self, tenant: str, quotas: Quotas) -> TenantUsage:
        """What the tenant has and may have, all of one moment."""
        with self._database.read() as session:
            return TenantUsage(
                tenant=tenant,
                usage=usage_of(session, tenant),
                quota=quota_of(session, tenant, quotas),
            )

    def tenants(self, quotas: Quotas) -> list[TenantUsage]:
        """Every tenant that has a job, a key or a quota of its own, by name."""
        with self._database.read() as session:
            usages = _usages(session)
            for column in (KeyRecord.tenant, TenantRecord.name):
                for name in session.scalars(select(column).distinct()):
                    usages.setdefault(name, Usage())
            limits = quotas_of(session, usages, quotas)
        return [
            TenantUsage(tenant=name, usage=usages[name], quota=limits[name])
            for name in sorted(usages)
        ]

    def quota(self, tenant: str, quotas: Quotas) -> Quota:
        """What the tenant may have."""
        rows = self._database.ask(quota_set_for(tenant))
        return quota_from(rows[0][0] if rows else None, tenant, quotas)

    def set_quota(
        self, tenant: str, quota: Quota, now: datetime, *, by: Actor | None = None
    ) -> None:
        """Give the tenant a quota, which replaces what the settings say of it."""
        values = quota.model_dump(mode="json")
        with self._database.write() as session:
            session.merge(TenantRecord(name=tenant, quota=values, changed_at=now))
            audit.note(session, by, now, "quota.set", tenant, quota=values)

    def clear_quota(self, tenant: str, now: datetime, *, by: Actor | None = None) -> None:
        """Let the settings' quota count again, if it did not."""
        with self._database.write() as session:
            session.execute(delete(TenantRecord).where(TenantRecord.name == tenant))
            audit.note(session, by, now, "quota.clear", tenant)

    def passed_over(self, tenant: str, quotas: Quotas) -> str | None:
        """A job of the tenant that may start now, if its limit of running ones could hold it back.

        Its doorbell was answered when it could not start, and nobody else will ring for it soon.
        """
        waiting = (
            select(JobRecord.id)
            .where(JobRecord.tenant == tenant, JobRecord.state == State.QUEUED)
            .order_by(JobRecord.priority.desc(), JobRecord.queued_at)
            .limit(1)
        )
        with self._database.read() as session:
            if quota_of(session, tenant, quotas).running_jobs is None:
                return None
            return None if tenant in busy_tenants(session, quotas) else session.scalar(waiting)


def _usages(session: Session) -> dict[str, Usage]:
    """Of every tenant that ever had a job."""
    counts = select(JobRecord.tenant, JobRecord.state, func.count()).group_by(
        JobRecord.tenant, JobRecord.state
    )
    stored = (
        select(JobRecord.tenant, func.sum(JobRecord.stored_bytes))
        .where(JobRecord.manifest_key.is_not(None))
        .group_by(JobRecord.tenant)
    )
    found: dict[str, Usage] = {}
    for tenant, state, count in session.execute(counts).all():
        usage = found.setdefault(tenant, Usage())
        usage.queued_jobs += count * (state is State.QUEUED)
        usage.running_jobs += count * (state in OWNED)
    for tenant, total in session.execute(stored).all():
        found[tenant].stored_bytes = int(total or 0)
    return found
