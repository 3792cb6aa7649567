"""A TCP proxy before an HTTP server, which breaks what the test tells it to break."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final, Literal
from urllib.parse import urlsplit

Kind = Literal["reset", "end", "stall", "flip", "answer", "hold", "cut-request", "flip-request"]
_PIECE: Final = 1 << 14


@dataclass
class Fault:
    """What happens to the next `times` requests whose first line begins with `request`.

    reset, end, stall: the answer's body breaks off after `at` bytes, by RST, FIN or silence.
    flip: its byte `at` is inverted.  answer: `status` with the error `code`, upstream never asked.
    hold: nothing at all happens.
    cut-request, flip-request: RST to both sides, or an inverted byte, after `at` bytes of the
    request, its head included.
    """

    kind: Kind
    request: str = "GET"
    at: int = 0
    times: int = 1
    skip: int = 0  # so many such requests pass before
    status: int = 503
    code: str = "SlowDown"
    then: "Fault | None" = None  # takes this one's place when its times are over


@dataclass
class FaultyProxy:
    upstream: tuple[str, int]
    url: str = ""
    fault: Fault | None = None
    seen: list[str] = field(default_factory=list)  # the first line of every request
    passed: int = 0  # bytes of bodies that clients were sent
    closing: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, line: str) -> Fault | None:
        """The fault for the request that begins with `line`, if it is to have one."""
        with self._lock:
            self.seen.append(line)
            fault = self.fault
            if fault is None or not fault.times or not line.startswith(fault.request):
                return None
            if fault.skip:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.then and not fault.times:
                self.fault = fault.then
            return fault

    def count(self, passed: int) -> None:
        with self._lock:
            self.passed += passed


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy to the HTTP server at `upstream`; without a fault it passes everything on."""
    parts = urlsplit(upstream)
    proxy = FaultyProxy((parts.hostname or "", parts.port or 80))

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                _serve(self.request, proxy)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 50

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            proxy.closing.set()
            server.shutdown()
            thread.join()


def _serve(client: socket.socket, proxy: FaultyProxy) -> None:
    """One request; the connection ends with it, so that none goes by unseen."""
    head, more = _read_head(client)
    if not head:
        return
    head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    fault = proxy.take(head.split(b"\r\n", 1)[0].decode())
    if fault and fault.kind == "answer":
        client.sendall(_error(fault.status, fault.code))
        return
    if fault and fault.kind == "hold":
        proxy.closing.wait(60)
        return
    with socket.create_connection(proxy.upstream) as server:
        pump = threading.Thread(target=_pass_request, args=(client, server, head + more, fault))
        pump.daemon = True
        pump.start()
        _pass_answer(server, client, fault, proxy)


def _pass_request(
    client: socket.socket, server: socket.socket, data: bytes, fault: Fault | None
) -> None:
    at = 0
    with suppress(OSError):
        while data:
            inside = fault is not None and at <= fault.at < at + len(data)
            if fault and inside and fault.kind == "cut-request":
                server.sendall(data[: fault.at - at])
                _reset(server)
                _reset(client)
                return
            if fault and inside and fault.kind == "flip-request":
                data = _flipped(data, fault.at - at)
            server.sendall(data)
            at += len(data)
            data = client.recv(_PIECE)


def _pass_answer(
    server: socket.socket, client: socket.socket, fault: Fault | None, proxy: FaultyProxy
) -> None:
    head, data = _read_head(server)
    client.sendall(head)
    at = 0
    while data or (data := server.recv(_PIECE)):
        inside = fault is not None and fault.at < at + len(data)
        if fault and inside and fault.kind == "flip" and fault.at >= at:
            data = _flipped(data, fault.at - at)
        elif fault and inside and fault.kind in ("reset", "end", "stall"):
            client.sendall(data[: fault.at - at])
            if fault.kind == "stall":
                proxy.closing.wait(60)
            if fault.kind == "reset":
                _reset(client)
            return
        client.sendall(data)
        proxy.count(len(data))
        at, data = at + len(data), b""


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def _read_head(source: socket.socket) -> tuple[bytes, bytes]:
    """The first lines up to the empty one, and what came with them."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = source.recv(_PIECE)
        if not piece:
            return data, b""
        data += piece
    head, _, more = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", more


def _reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset and no end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()


def _error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"
    return (
        f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
