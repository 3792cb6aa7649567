"""What is refused before any route sees it: foreign hosts, foreign pages, bodies that are not JSON.

Without keys the server is only as private as the loopback interface, and every page open in the
user's browser can reach that. These checks keep such pages out. Where keys are demanded, a page that
reaches the server under a name of its own (DNS rebinding) has no key: other names are answered too.
"""

import ipaddress
from collections.abc import Callable, Collection
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import (
    BodyTooLarge,
    CrossSite,
    UnsupportedMediaType,
    WrongHost,
    problem_response,
)
from core.errors import SecateurError

MAX_BODY: Final = 1_000_000
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without port, can only be this machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: the checks on the way in, the browser's security headers on the way out.

    `keys_demanded` says whether nobody is served without a key; it may block. `allowed_hosts`
    are then the names the server answers for beside loopback ones; all where there are none.
    """

    def __init__(
        self, app: ASGIApp, keys_demanded: Callable[[], bool], allowed_hosts: Collection[str]
    ) -> None:
        self.app = app
        self._keys_demanded = keys_demanded
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            await self._check_host(scope["path"], headers.get("host", ""))
            check_site(scope["method"], headers)
            check_body(scope["method"], headers)
        except SecateurError as refusal:
            # The body stays unread, so the connection cannot carry another request.
            response = problem_response(refusal, {"Connection": "close"})
            await response(scope, receive, send)
            return
        await self.app(scope, receive, _with_headers(send))

    async def _check_host(self, path: str, host: str) -> None:
        """Raise WrongHost unless the server answers for the machine the request was addressed to."""
        name = _without_port(host).lower()
        if is_loopback(name):
            return
        if not await run_in_threadpool(self._keys_demanded):
            remedy = "Use http://127.0.0.1 or http://localhost with the server's port."
        elif not self._allowed_hosts or name in self._allowed_hosts or path in PROBES:
            return  # probes know a machine by its address only
        else:
            remedy = "Use one of the names in its SECATEUR_ALLOWED_HOSTS."
        raise WrongHost(f"this server does not answer for host {host!r}.", remedy=remedy)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.rpartition(":")[0] if ":" in host else host


def check_site(method: str, headers: Headers) -> None:
    """Raise CrossSite for what another site's page sends; a followed link may still open a page."""
    site = headers.get("sec-fetch-site", "none")
    if method in SAFE:
        followed_link = (
            headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        foreign = site == "cross-site" and not followed_link
    else:
        # Another port of this machine is the "same site": only the same origin may change things.
        foreign = site not in ("same-origin", "none") or _foreign_origin(headers)
    if foreign:
        raise CrossSite(
            "the request comes from a page of another site.",
            remedy="Call the API from a program, or from the server's own dashboard.",
        )


def _foreign_origin(headers: Headers) -> bool:
    origin = headers.get("origin")
    return (
        origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
    )


def check_body(method: str, headers: Headers) -> None:
    """Raise unless a body, where there is one, says it is JSON of a bearable size.

    Raises:
        UnsupportedMediaType: another content type, which a foreign page could send unasked.
        BodyTooLarge: it announces more than `MAX_BODY` bytes.
    """
    length = int(headers.get("content-length", "0"))  # the server has refused what is no number
    if method in SAFE or (length == 0 and "transfer-encoding" not in headers):
        return
    if length > MAX_BODY:
        raise too_large()
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise UnsupportedMediaType(
            f"the body's content type is {content_type or 'not given'}.",
            remedy="Send JSON with Content-Type: application/json.",
        )


def too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {MAX_BODY} bytes.", remedy="A job spec is far smaller."
    )


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped
