"""Signing in to the dashboard: the key goes into a cookie, and out of it again."""

from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.auth import COOKIE, LOGIN, access_of, caller_of, caller_with
from api.bodies import PostedObject
from api.dependencies import Jobs, Now
from api.refusals import actor_behind
from core.errors import AccessDenied
from core.jobs.credentials import Scope
from core.key_errors import KeyMissing

_UNSTORED: Final = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False)


class SignedIn(BaseModel):
    """Whose key the browser holds, without the key."""

    tenant: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]


class Session(BaseModel):
    demanded: bool
    """Whether this server serves nobody without a key."""
    key: SignedIn | None


@router.post(LOGIN)
def sign_in(request: Request, posted: PostedObject, jobs: Jobs, now: Now) -> Response:
    """204 and the cookie, once it is written down who came. Raises KeyMissing, KeyUnknown, KeyExpired or KeyRevoked."""
    text = posted.get("key")
    if not isinstance(text, str):
        raise KeyMissing
    text = text.strip()
    response = Response(status_code=204, headers=_UNSTORED)
    caller = caller_with(request, text)
    if caller.key is not None:
        by = actor_behind(request, caller.tenant, caller.key)
        jobs.record(by, now, "login", caller.key.id)
        # No expiry: it ends with the browser, or when the key does.
        response.set_cookie(
            COOKIE, text, secure=_is_secure(request), httponly=True, samesite="strict"
        )
    return response


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    response = Response(status_code=204, headers=_UNSTORED)
    response.delete_cookie(COOKIE, secure=_is_secure(request), httponly=True, samesite="strict")
    return response


@router.get("/session")
def read_session(request: Request, response: Response) -> Session:
    """What the pages show of who is signed in. Raises StoreUnavailable."""
    response.headers.update(_UNSTORED)
    demanded = access_of(request).demanded()
    try:
        key = caller_of(request).key
    except AccessDenied:
        key = None
    shown = None if key is None else SignedIn.model_validate(key, from_attributes=True)
    return Session(demanded=demanded, key=shown)


def _is_secure(request: Request) -> bool:
    """Whether the browser came over TLS; behind a proxy, one of `trusted_proxies` says so."""
    return request.url.scheme == "https"
