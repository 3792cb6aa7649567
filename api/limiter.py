"""Rate limits of tenants and addresses, and the headers that tell clients how they stand."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.guards import SAFE
from api.pace import WINDOW, Pace, Standing
from core.limit_errors import RateLimited, TooManyFailures
from core.settings import Settings

_STATE: Final = "rate"


@dataclass(frozen=True, slots=True)
class Limiter:
    """What a minute may bring. A limit of 0 is none."""

    pace: Pace
    reads: int
    writes: int
    failures: int

    @classmethod
    def of(cls, settings: Settings, pace: Pace) -> "Limiter":
        return cls(
            pace,
            settings.reads_per_minute,
            settings.writes_per_minute,
            settings.failures_per_minute,
        )

    async def request(self, request: Request, tenant: str) -> None:
        """Count a request of the tenant, once. Raises RateLimited."""
        if hasattr(request.state, _STATE):
            return
        kind = "reads" if request.method in SAFE else "writes"
        limit = self.reads if kind == "reads" else self.writes
        if not limit:
            return
        standing, tell = self.pace.count_here(f"{kind}:{tenant}", limit)
        if tell is not None:
            standing = await run_in_threadpool(tell)
        setattr(request.state, _STATE, (kind, standing))
        if standing.over:
            raise RateLimited(kind, limit, standing.reset)

    def failure(self, address: str | None) -> None:
        """Count a refused key or a lacking scope. Raises TooManyFailures."""
        standing = self.pace.count(f"failures:{_network(address)}", self.failures)
        if standing.over:
            raise TooManyFailures(self.failures, standing.reset)

    def tells_quota(self, tenant: str) -> bool:
        """Count a refusal by the tenant's quota; whether the minute has room for a line about it."""
        return not self.pace.count(f"quota:{tenant}", self.failures).over


class RateHeaders:
    """ASGI middleware: `RateLimit-Policy` and `RateLimit` on the answer to a counted request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and _STATE in state:
                kind, standing = state[_STATE]
                MutableHeaders(scope=message).update(headers_of(kind, standing))
            await send(message)

        await self.app(scope, receive, tell)


def headers_of(kind: str, standing: Standing) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers has them."""
    return {
        "RateLimit-Policy": f'"{kind}";q={standing.limit};w={WINDOW}',
        "RateLimit": f'"{kind}";r={standing.remaining};t={standing.reset}',
    }


def _network(address: str | None) -> str:
    """What one subscriber has: an IPv4 address, or the /64 in which IPv6 gives out addresses freely."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
