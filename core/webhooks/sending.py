"""One POST to a stranger's server: to an address that was judged, within a time, and no step further.

The name is resolved here, once, and the connection goes to the very addresses that were judged: a
name that leads elsewhere a moment later (DNS rebinding) changes nothing. The certificate is checked
against the name all the same. Redirects are not followed, no proxy of the environment is asked, and
of the answer only the status line and the headers are read.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final

import httpcore
import httpx

from core.webhooks.allowed import Address, Allowed, permitted, usable
from core.webhooks.errors import WebhookRefused
from core.webhooks.urls import Target

CONNECT_SECONDS: Final = 5.0
_MOST_ADDRESSES: Final = 4
_CHUNK: Final = 16384

Resolver = Callable[[str, int], tuple[Address, ...]]
"""The addresses of a host, in the order in which to try them; raises OSError where it has none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one sending went."""

    status: int | None
    """None where there was no answer."""
    error: str | None
    """What went wrong, in words that tell nothing of our network."""
    retry_after: str | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def resolve(host: str, port: int) -> tuple[Address, ...]:
    """What this machine's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ip_address(str(info[4][0])) for info in found))


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages. Safe to share between threads."""

    allowed: Allowed
    seconds: float
    """For everything: from the resolver's answer to the last header."""
    resolver: Resolver = resolve
    # certifi's list, or SSL_CERT_FILE's, as everything else of ours that speaks https.
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send `body` once. Never raises for what the other side, or its name, does."""
        try:
            target = permitted(url, self.allowed)
            deadline = monotonic() + self.seconds
            return self._exchange(target, self._addresses(target), body, headers, deadline)
        except WebhookRefused as refusal:
            return Answer(None, refusal.message)
        except httpcore.TimeoutException:
            return Answer(None, f"no answer within {self.seconds:g} s")
        except httpcore.ConnectError as error:
            return Answer(None, _connect_error(error))
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return Answer(None, "the connection broke off, or what came was no HTTP")

    def _addresses(self, target: Target) -> tuple[Address, ...]:
        """Raises WebhookRefused, in the same words where a name leads nowhere and where it leads
        inside: else the log of deliveries would tell which names our own network has."""
        try:
            found = self.resolver(target.host, target.port)
        except (OSError, UnicodeError, ValueError):
            found = ()
        addresses = usable(target.host, found, self.allowed)
        if not addresses:
            raise WebhookRefused(f"{target.host} does not lead to a public address.")
        return addresses[:_MOST_ADDRESSES]

    def _exchange(
        self,
        target: Target,
        addresses: tuple[Address, ...],
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Answer:
        pinned = _Pinned(addresses, deadline)
        url = httpcore.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.path
        )
        length = str(len(body))
        sent = [*headers.items(), ("Host", target.authority), ("Content-Length", length)]
        with (
            httpcore.ConnectionPool(ssl_context=self.tls, network_backend=pinned) as pool,
            pool.stream("POST", url, headers=sent, content=body) as response,
        ):
            told = {name.lower(): value for name, value in response.headers}
            retry_after = told.get(b"retry-after", b"").decode("latin-1")[:100]
            status = int(response.status)
        ok = 200 <= status < 300
        return Answer(status, None if ok else f"it answered {status}", retry_after or None)


class _Pinned(httpcore.NetworkBackend):
    """Connects to `addresses` whatever name is asked for, and allows nothing after `deadline`."""

    def __init__(self, addresses: tuple[Address, ...], deadline: float) -> None:
        self._addresses, self._deadline = addresses, deadline

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the library's signature
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        plain = httpcore.SyncBackend()
        until = min(monotonic() + CONNECT_SECONDS, self._deadline)
        *others, last = self._addresses
        for address in others:
            try:
                # A share of the time for each: one that swallows packets leaves some to the next.
                share = _left(until) / 2
                stream = plain.connect_tcp(str(address), port, share, local_address, socket_options)
                return _Bounded(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        stream = plain.connect_tcp(str(last), port, _left(until), local_address, socket_options)
        return _Bounded(stream, self._deadline)


class _Bounded(httpcore.NetworkStream):
    """A stream on which every step ends by `deadline`, however slowly the bytes trickle."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), _CHUNK):
            self._stream.write(buffer[start : start + _CHUNK], _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline)
        return _Bounded(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds until `deadline`. Raises ReadTimeout when there are none."""
    left = deadline - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left


def _connect_error(error: httpcore.ConnectError) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection came about"
    return "it takes no connections"
