"""Who asks, and whether they may: the key in a request, the scope that a route needs.

Programs send `Authorization: Bearer sec_…`. A browser cannot, so the dashboard's login page has the
key put into a cookie that no script can read and no other site can have sent along.
"""

from typing import Annotated, Any, Final, cast
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Security
from fastapi.responses import RedirectResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from api.access import Access, Caller
from api.guards import SAFE
from api.limiter import Limiter
from api.problems import CrossSite, problem_response
from api.queries import check_query
from api.refusals import Refusals, actor_behind
from core.errors import AccessDenied, SecateurError
from core.jobs.audit import Actor
from core.jobs.credentials import Scope
from core.key_errors import KeyExpired, KeyMissing, KeyRevoked, KeyUnknown, ScopeMissing
from core.limit_errors import QuotaReached, RateLimited, TooManyFailures
from core.telemetry import fields

COOKIE: Final = "secateur_key"
LOGIN: Final = "/login"
REFUSALS: Final[tuple[type[SecateurError], ...]] = (
    KeyMissing,
    KeyUnknown,
    KeyExpired,
    KeyRevoked,
    ScopeMissing,
    RateLimited,
    TooManyFailures,
)

_SCHEME: Final = HTTPBearer(
    scheme_name="API key",
    bearerFormat="sec_…",
    description="A key made with `secateur keys create`. Its scopes are `jobs:read`, `jobs:write`, and"
    " `admin`, which holds the others. A server that never had a key demands none.",
    auto_error=False,
)


def access_of(request: Request) -> Access:
    return cast("Access", request.app.state.access)


def remembered(request: Request) -> Caller | None:
    """Who sent the request, where that has been found out already. Does not block."""
    return cast("Caller | None", getattr(request.state, "caller", None))


def caller_of(request: Request) -> Caller:
    """Who sent the request; found out once. Raises what REFUSALS lists, and StoreUnavailable."""
    found = remembered(request)
    if found is None:
        found = _noted(request, caller_with(request, _presented(request)))
    return found


def _noted(request: Request, caller: Caller) -> Caller:
    request.state.caller = caller
    fields.note(tenant=caller.tenant, key=caller.key.id if caller.key else None)
    return caller


async def calling(request: Request) -> Caller:
    """As `caller_of`; leaves the event loop only where the key store has to be asked."""
    found = remembered(request)
    if found is not None:
        return found
    request.state.presented = text = _presented(request)
    known = access_of(request).known(text)
    if known is None:
        return await run_in_threadpool(caller_of, request)
    return _noted(request, known)


def caller_again(request: Request) -> Caller:
    """As `caller_of`, asked anew: answers that go on for long outlive keys. May block."""
    return access_of(request).caller(_presented(request))


def caller_with(request: Request, text: str | None) -> Caller:
    """Who presents the key `text`; remembered, so that a refusal can be told of. Raises as `caller_of`."""
    request.state.presented = text
    return access_of(request).caller(text)


async def actor_of(request: Request) -> Actor:
    """Who a deed of this request is written down as."""
    caller = await calling(request)
    return actor_behind(request, caller.tenant, caller.key)


class Needs:
    """A dependency: the route is for callers whose key has `scope`, who do not ask too often, and whose
    query it knows; in this order, so that mistakes are counted, too."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Final = scope

    async def __call__(self, request: Request, _: Annotated[object, Depends(_SCHEME)]) -> None:
        caller = await calling(request)
        if caller.key is not None:
            limiter: Limiter = request.app.state.limiter
            await limiter.request(request, caller.tenant)
        caller.require(self.scope)
        check_query(request)  # what somebody may not do at all is not corrected


def _needs(scope: Scope) -> Any:
    return Security(Needs(scope), scopes=[scope])


# Each route of /v1 names one of these among its dependencies, or its router does.
READS: Final = _needs("jobs:read")
WRITES: Final = _needs("jobs:write")
ADMINISTERS: Final = _needs("admin")


def install(app: FastAPI, access: Access, limiter: Limiter, refusals: Refusals) -> None:
    """Let `app` ask who its callers are and how often, and send browsers without a key to log in."""
    app.state.access, app.state.limiter = access, limiter

    @app.exception_handler(AccessDenied)
    async def denied(request: Request, refused: AccessDenied) -> Response:
        error = await run_in_threadpool(refusals.answer, request, refused)
        no_way_in = not isinstance(error, AccessDenied) or isinstance(error, ScopeMissing)
        if no_way_in or not _shows_a_page(request):
            return problem_response(error)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(
            f"{LOGIN}?next={quote(path, safe='/')}", 303, headers={"Cache-Control": "no-store"}
        )

    @app.exception_handler(QuotaReached)
    async def full(request: Request, refused: QuotaReached) -> Response:
        # Its route has asked who the caller is, which the request remembers.
        await run_in_threadpool(refusals.tell, request, await actor_of(request), refused)
        return problem_response(refused)


def _presented(request: Request) -> str | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    text = request.cookies.get(COOKIE, "")
    if not text:
        return None
    # A browser sends the cookie by itself, so what changes something has to say which page it is from.
    # The guard has compared an Origin, where there is one, to the Host.
    ours = request.headers.get("sec-fetch-site") == "same-origin" or "origin" in request.headers
    if request.method not in SAFE and not ours:
        raise CrossSite(
            "the request does not say that it comes from this server's own pages.",
            remedy="Programs send `Authorization: Bearer sec_…` instead of a cookie.",
        )
    return text


def _shows_a_page(request: Request) -> bool:
    """Whether a person would read the answer: a page, or a file that a browser was sent to.

    A link in a report, or on another site, comes without the cookie. The login page finds the
    browser signed in and sends it on, this time with the cookie.
    """
    if request.method not in ("GET", "HEAD"):
        return False
    navigated = request.headers.get("sec-fetch-mode") == "navigate"
    return navigated or not request.url.path.startswith("/v1/")
