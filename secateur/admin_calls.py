"""What administrators ask: keys, tenants, quotas, who did what. And everybody: their own usage."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from core.errors import SecateurError
from core.jobs.audit_views import AuditEntry, AuditPage
from core.jobs.credentials import ApiKey, CreatedKey, Scope
from core.jobs.tenant_views import TenantUsage
from core.limit_errors import LastAdminKey, NoKeysYet, OperatorOnly
from core.quotas import Quota
from secateur.calls import Asking, Call, of, segment

REFUSALS: Final[tuple[type[SecateurError], ...]] = (LastAdminKey, NoKeysYet, OperatorOnly)
"""As in `secateur.webhook_calls`."""


class _KeyList(BaseModel):
    data: list[ApiKey]


class _TenantList(BaseModel):
    data: list[TenantUsage]


class AdminCalls(Asking):
    """Part of both clients. All but `usage` need a key with the scope admin.

    What reaches beyond one's own tenant is for the operator: OperatorOnly.
    """

    async def usage(self) -> TenantUsage:
        """What your own tenant has queued, running and stored, and what it may have."""
        return await self._ask(Call("GET", "/v1/usage", of(TenantUsage)))

    async def api_keys(self, *, tenant: str | None = None) -> tuple[ApiKey, ...]:
        """The API keys there are and were, newest first. None of them can be read back."""
        query = {} if tenant is None else {"tenant": tenant}
        return tuple((await self._ask(Call("GET", "/v1/keys", of(_KeyList), query))).data)

    async def create_key(
        self,
        name: str,
        *,
        scopes: Sequence[Scope] = ("jobs:read", "jobs:write"),
        tenant: str | None = None,
        expires_days: int | None = None,
    ) -> CreatedKey:
        """A new API key, the text of which is in this answer and in no other.

        Raises:
            NoKeysYet: the first one is made beside the server, with `secateur keys create`.
        """
        given = {"name": name, "tenant": tenant, "expires_days": expires_days}
        body = {k: v for k, v in given.items() if v is not None} | {"scopes": [*scopes]}
        return await self._ask(Call("POST", "/v1/keys", of(CreatedKey), body=body))

    async def revoke_key(self, key_id: str, *, force: bool = False) -> ApiKey:
        """End a key for good. Repeating does no harm.

        Raises:
            KeyNotFound; LastAdminKey, unless `force`: nobody of the tenant could make another.
        """
        query = {"force": "true"} if force else {}
        return await self._ask(Call("DELETE", f"/v1/keys/{segment(key_id)}", of(ApiKey), query))

    async def tenants(self) -> tuple[TenantUsage, ...]:
        """Every tenant that has a job, a key or a quota of its own, by name."""
        return tuple((await self._ask(Call("GET", "/v1/tenants", of(_TenantList)))).data)

    async def set_quota(self, tenant: str, quota: Quota) -> TenantUsage:
        """Replace all that the server's settings say of the tenant."""
        body = quota.model_dump(exclude_none=True)
        return await self._ask(Call("PUT", _quota(tenant), of(TenantUsage), body=body))

    async def clear_quota(self, tenant: str) -> TenantUsage:
        """Let the quota in the server's settings count again. Repeating does no harm."""
        return await self._ask(Call("DELETE", _quota(tenant), of(TenantUsage)))

    def audit(
        self,
        *,
        tenant: str | None = None,
        action: str | None = None,
        key_id: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[AuditEntry, None]:
        """Who did what, newest first: every entry that matches all that is given, page by page.

        `since` and `until` have a time zone.
        """
        given = {
            "tenant": tenant,
            "action": action,
            "key_id": key_id,
            "target": target,
            "outcome": outcome,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
            "limit": page_size,
        }
        query = {name: value for name, value in given.items() if value is not None}
        return self._paged("/v1/audit", of(AuditPage), query)


def _quota(tenant: str) -> str:
    return f"/v1/tenants/{segment(tenant)}/quota"
