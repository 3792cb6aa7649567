"""A receiver of webhooks on this machine, which answers as it is told and remembers what came."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(slots=True)
class Reply:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long to think before answering."""
    endless: bool = False
    """A body that never ends."""
    trickle: bool = False
    """A byte of a header now and then, for ever."""
    before: Callable[[], object] = lambda: None
    """Done once the request is read."""


class Receiver:
    """Answers with `reply`, whatever it is at the moment."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.heard: list[Heard] = []
        self.reply = Reply()
        self.closing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/hook"
        # A short poll, so that a test does not wait for the end.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.heard]

    def close(self) -> None:
        self.closing = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.heard.append(Heard(self.path, headers, body))
                with suppress(OSError):  # the sender has gone
                    receiver.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        reply = self.reply
        reply.before()
        time.sleep(reply.seconds)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        while reply.trickle and not self.closing:
            handler.flush_headers()
            handler.wfile.write(b"x-slow: 1\r\n")
            time.sleep(0.05)
        handler.end_headers()
        while reply.endless and not self.closing:
            handler.wfile.write(b"x" * 65536)


@contextmanager
def receiver(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    """A running one, gone at the end; on a free port for 0."""
    made = Receiver(tls, port)
    try:
        yield made
    finally:
        made.close()
