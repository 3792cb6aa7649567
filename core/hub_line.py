"""The way to a hub: plain HTTP, a token that goes to the hub alone, and limits on all that comes.

A hub may send a download elsewhere, as the public one does with large files. Where that may lead is
judged here: never from TLS to none, and from a hub of the open internet to nothing that is not.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from core.errors import ModelNotFound, SecateurError, SourceRefused, SourceUnavailable
from core.hub_addresses import checked, followed, is_open, misled, origin
from core.strict_json import Bounds, NotStrictJson, parse_strictly

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 8 << 20
"""Of an answer in JSON; a page of a thousand names has some 300 kB."""
_ANSWER: Final = Bounds(MAX_ANSWER_BYTES, values=400_000)
MAX_ANSWER_SECONDS: Final = 60.0
_MAX_HOPS: Final = 5
_MOVED: Final = (301, 302, 303, 307, 308)
_AGAIN: Final = (408, 425, 429)  # and all from 500
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MAX_WAIT: Final = 60.0  # whatever Retry-After says


def unhurried() -> float:
    """What is left to those whom nobody waits for."""
    return math.inf


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a hub that does not answer is believed to be there."""

    attempts: int = 5
    """Tries of a request, and of a part, whose rest is asked for after each break."""
    silence: float = 30.0
    """Seconds without a byte, after which a line counts as broken."""
    pause: float = 0.5
    """Seconds before the second try; twice as many before each further one."""
    left: Callable[[], float] = unhurried
    """Seconds that there are for all that is still asked; raises where there are none. It is looked
    at before each request, and whenever something has come."""


class Again(Exception):
    """Something that may go better the next time; `wait` is what the hub asks for, in seconds."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Line:
    """Requests to one hub, from several threads if need be."""

    def __init__(self, endpoint: str, token: str | None, patience: Patience | None = None) -> None:
        """Raises SourceUnavailable: `endpoint` is no URL of a hub."""
        self.patience = patience or Patience()
        self._hub = checked(endpoint)
        self.endpoint = endpoint.rstrip("/")
        self._token = token
        self._public: bool | None = None
        """Whether the hub was met at an address of the open internet; None before."""
        near = self._hub.hostname in _LOOPBACK
        self._client = httpx.Client(
            headers={"User-Agent": "secateur", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            trust_env=not near,  # a proxy cannot reach this machine's own loopback interface
        )
        self._moved: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def reach(self) -> None:
        """Raises SourceUnavailable unless there is an answer, be it that we may not list models."""

        def ask() -> None:
            response = self._send(f"{self.endpoint}/api/models?limit=1", {})
            response.close()
            if response.is_server_error:
                raise Again(f"the hub answers {response.status_code}")

        self.tried(self.endpoint, ask)

    def json(self, path: str, what: str) -> tuple[Any, Mapping[str, str]]:
        """The answer to GET `path`, and its headers; it is never looked for elsewhere.

        Raises:
            ModelNotFound: not there, or not for this token.
            SourceUnavailable: no answer, again and again, or none in JSON.
        """
        return self.tried(what, lambda: self._json(path, what))

    def _json(self, path: str, what: str) -> tuple[Any, Mapping[str, str]]:
        response = self._send(f"{self.endpoint}{path}", {})
        try:
            if response.status_code in _MOVED:
                raise ModelNotFound(
                    f"{what}: the hub has it under another name or place,"
                    f" {response.headers.get('location', '')[:200]!r}.",
                    remedy="Name it as it is called there.",
                )
            self.judge(response, what)
            body = self._limited(response, what)
        finally:
            response.close()
        try:
            return parse_strictly(body, _ANSWER), response.headers
        except NotStrictJson as error:
            raise SourceUnavailable(f"{what}: the hub's answer {error}.", remedy=ENDPOINT) from None

    def _limited(self, response: httpx.Response, what: str) -> bytes:
        """The body of `response`, if it is short enough and comes soon enough."""
        body, until = bytearray(), time.monotonic() + MAX_ANSWER_SECONDS
        try:
            for piece in response.iter_raw():
                body += piece
                self.patience.left()
                if len(body) > MAX_ANSWER_BYTES:
                    raise SourceUnavailable(
                        f"{what}: the hub answers with more than {MAX_ANSWER_BYTES} bytes.",
                        remedy=ENDPOINT,
                    )
                if time.monotonic() > until:
                    raise Again(f"no whole answer came within {MAX_ANSWER_SECONDS:g} seconds")
        except httpx.HTTPError as error:
            raise Again(why(error)) from error
        return bytes(body)

    def get(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """The answer to GET `path`, its body unread, wherever the hub sends us.

        Raises:
            SourceRefused: it sends us where a hub must not.
            Again: there is none.
        """
        known = self._moved.get(path)
        if known is not None:
            try:
                response = self._send(known, headers)
            except Again:
                self._moved.pop(path, None)
                raise
            if response.is_success:
                return response
            response.close()  # a signed address that has expired: the hub knows a new one
            self._moved.pop(path, None)
        url = f"{self.endpoint}{path}"
        for _ in range(_MAX_HOPS):
            response = self._send(url, headers)
            if response.status_code not in _MOVED:
                if response.is_success and not self._is_hub(urlsplit(url)):
                    self._moved[path] = url
                return response
            response.close()
            url = self._next(url, response.headers.get("location", ""))
        raise SourceRefused(f"{self._hub.hostname} sends us from one place to another, forever.")

    def tried(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` returns, once it does not raise Again; SourceUnavailable after the last try."""
        pause = self.patience.pause
        for left in range(self.patience.attempts - 1, -1, -1):
            try:
                return ask()
            except Again as error:
                self.patience.left()
                if not left:
                    raise SourceUnavailable(f"{what}: {error}.", remedy=ENDPOINT) from error
                self.rest(pause if error.wait is None else error.wait)
                pause *= 2
        raise AssertionError("at least one attempt")

    def rest(self, seconds: float) -> None:
        time.sleep(min(seconds, _MAX_WAIT, self.patience.left()))

    def judge(self, response: httpx.Response, what: str) -> None:
        """Raise what an answer means that is none of success."""
        status = response.status_code
        if response.is_success:
            return
        if status in (401, 403):
            raise ModelNotFound(
                f"{what}: the hub refuses access ({status}); it is private, gated, or not there.",
                remedy="Accept its terms on the hub, and set HF_TOKEN where Secateur runs.",
            )
        if status in (404, 410, 451):
            raise ModelNotFound(
                f"{what}: not on the hub ({status}).",
                remedy="Check model.source and model.revision; HF_ENDPOINT says which hub is asked.",
            )
        if status in _AGAIN or status >= 500:
            raise Again(f"the hub answers {status}", _seconds(response.headers.get("retry-after")))
        raise SourceUnavailable(f"{what}: the hub answers {status}.", remedy=ENDPOINT)

    def _send(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        own = self._is_hub(urlsplit(url))
        token = {"Authorization": f"Bearer {self._token}"} if own and self._token else {}
        silence = min(self.patience.silence, self.patience.left())
        request = self._client.build_request(
            "GET",
            url,
            headers={**headers, **token},
            timeout=httpx.Timeout(silence, connect=min(10.0, silence)),
            extensions={"trace": self._guard(url, own)},
        )
        try:
            return self._client.send(request, stream=True)
        except SecateurError:
            raise
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Again(why(error)) from error

    def _guard(self, url: str, own: bool) -> Callable[[str, Mapping[str, Any]], None]:
        """Looks at the address that a connection was made to, before anything is sent on it."""
        proxied = self._is_proxied(urlsplit(url))

        def look(event: str, about: Mapping[str, Any]) -> None:
            if proxied or event != "connection.connect_tcp.complete":
                return
            address = about["return_value"].get_extra_info("server_addr")[0]
            public = ip_address(address.partition("%")[0]).is_global
            if own:
                self._public = public
            elif self._public is not False and not public:
                about["return_value"].close()
                raise misled(url, "an address that is not of the open internet")

        return look

    def _is_proxied(self, url: SplitResult) -> bool:
        """Whether somebody else connects for us, and so knows which addresses it reaches."""
        proxies, host = getproxies(), url.hostname or ""
        near = self._hub.hostname in _LOOPBACK
        found = url.scheme in proxies or "all" in proxies
        return not near and found and not proxy_bypass(host)

    def _next(self, url: str, location: str) -> str:
        """Where `location` leads from `url`. Raises SourceRefused."""
        place = followed(url, location)
        if (
            self._public is not False
            and not self._is_hub(place)
            and not is_open(place.hostname or "")
        ):
            raise misled(place.geturl(), "an address that is not of the open internet")
        return place.geturl()

    def _is_hub(self, url: SplitResult) -> bool:
        return origin(url) == origin(self._hub)


ENDPOINT: Final = "Try again later; HF_ENDPOINT says which hub is asked."


def why(error: Exception) -> str:
    """What broke a line, in one line, without a URL: a signed one is as good as a key."""
    line = " ".join(str(error).split())[:200].rstrip(".")
    return f"{type(error).__name__}: {line}" if line and "://" not in line else type(error).__name__


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
