"""A hub of models on the loopback interface that hands large files over to a storage of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
Fault = Literal["no ranges", "other part", "short", "stalls", "drips", "endless", "to elsewhere"]


@dataclass
class ModelHub:
    """What it holds of org/name, how it fails, and what it was asked with which authorization."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    listing: Any = None
    """What it answers instead of its listing."""
    status: int = 200
    fault: Fault | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    """Bytes of files."""
    closing: Event = field(default_factory=Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ModelHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((path, self.headers.get("Authorization")))
        if self.hub.status != 200:
            self._send(self.hub.status, b"{}")
        elif path == "/api/models/org/name/revision/main":
            self._list()
        elif path.startswith(f"/org/name/resolve/{COMMIT}/"):
            self._resolve(path.split(f"{COMMIT}/", 1)[1])
        elif path.startswith("/storage/"):
            self._range(self.hub.files[path.removeprefix("/storage/")])
        else:
            self._send(404, b"{}")

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _list(self) -> None:
        files = [{"rfilename": n, "size": len(b)} for n, b in self.hub.files.items()]
        answer = self.hub.listing or {"id": "org/name", "sha": COMMIT, "siblings": files}
        self._send(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def _resolve(self, name: str) -> None:
        if name not in self.hub.files:
            self._send(404, b"{}")
        elif self.hub.fault == "endless":
            self._send(302, b"", Location=self.path)
        elif self.hub.fault == "to elsewhere":
            self._send(302, b"", Location="ftp://127.0.0.1/model")
        elif name.endswith(".safetensors"):
            # Under another name of this machine, as the storage of a hub is another host.
            there = self.hub.url.replace("127.0.0.1", "localhost")
            self._send(302, b"", Location=f"{there}/storage/{name}")
        else:
            self._range(self.hub.files[name])

    def _range(self, whole: bytes) -> None:
        begin, end = (int(part) for part in self.headers["Range"][6:].split("-"))
        body = whole[begin : end + 1]
        if self.hub.fault == "no ranges":
            self._send(200, whole)
            return
        if self.hub.fault == "stalls":
            self.hub.closing.wait(30)
            self.close_connection = True
            return
        if self.hub.fault == "drips":
            self._drip(len(body))
            return
        if self.hub.fault == "short":
            body = body[:-1]
        first = begin + 1 if self.hub.fault == "other part" else begin
        self.hub.sent += len(body)
        self._send(206, body, Content_Range=f"bytes {first}-{end}/{len(whole)}")

    def _drip(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        while not self.hub.closing.wait(0.05):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return
        self.close_connection = True


@contextmanager
def serving() -> Iterator[ModelHub]:
    """A hub that holds nothing yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = ModelHub(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
