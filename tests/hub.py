"""A hub of data sets on the loopback interface: its protocol, and its faults."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Literal
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

Fault = Literal["cut short", "cut short once", "begins anew", "too long", "altered", "too slow"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What it holds, how it fails, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    """Of the one data set org/name, at COMMIT."""
    revisions: set[str] = field(default_factory=lambda: {"main", "v1", "refs/convert/parquet"})
    commit: str = COMMIT
    statuses: dict[str, int] = field(default_factory=dict)
    """Path of a request, without query → the status it is answered with."""
    stalled: set[str] = field(default_factory=set)
    """Paths of requests that are never answered."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """Name of a file → what goes wrong while its body is sent."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Name of a file → the size HEAD announces, where it is another than the file's."""
    asked: list[str] = field(default_factory=list)
    """METHOD path of every request."""
    closing: Event = field(default_factory=Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        if path in self.hub.stalled:
            self._too_slow(200, b"", {})
        elif path in self.hub.statuses:
            self._refuse(self.hub.statuses[path])
        elif path.startswith("/api/datasets/org/name/revision/"):
            self._revision(unquote(path.rsplit("/", 1)[1]))
        elif path.startswith(f"/api/datasets/org/name/tree/{self.hub.commit}"):
            self._tree()
        elif path.startswith(f"/datasets/org/name/resolve/{self.hub.commit}/"):
            self._resolve(unquote(path.split(f"{self.hub.commit}/", 1)[1]))
        else:
            self._refuse(404, "RepoNotFound")

    def _refuse(self, status: int, code: str | None = None) -> None:
        known = {401: "RepoNotFound", 403: "GatedRepo", 404: "EntryNotFound"}
        named = code or known.get(status)
        self._send(status, b"{}", {"X-Error-Code": named} if named else {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _revision(self, revision: str) -> None:
        if revision not in {*self.hub.revisions, self.hub.commit}:
            self._refuse(404, "RevisionNotFound")
            return
        siblings = [{"rfilename": n, "size": len(b)} for n, b in self.hub.files.items()]
        self._json({"id": "org/name", "sha": self.hub.commit, "siblings": siblings})

    def _tree(self) -> None:
        self._json(
            [
                {
                    "type": "file", "path": name, "size": len(body),
                    "oid": hashlib.sha1(body, usedforsecurity=False).hexdigest(),
                }
                for name, body in self.hub.files.items()
            ]
        )  # fmt: skip

    def _resolve(self, name: str) -> None:
        if name not in self.hub.files:
            self._refuse(404)
            return
        whole = self.hub.files[name]
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha256(whole).hexdigest()}"',
            "X-Repo-Commit": self.hub.commit,
            "Accept-Ranges": "bytes",
        }
        if self.command == "HEAD":
            size = self.hub.sizes.get(name, len(whole))
            self._send(200, b"", headers | {"Content-Length": str(size)})
            return
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(whole) - 1}/{len(whole)}"
        send = _BODIES.get(self.hub.faults.get(name, "none"), _Handler._send)
        send(self, 206 if begin else 200, whole[begin:], headers)

    def _cut_short(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._send(status, body[: len(body) // 2], headers | {"Content-Length": str(len(body))})
        self.close_connection = True

    def _cut_short_once(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        (self._cut_short if status == 200 else self._send)(status, body, headers)

    def _begins_anew(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """As if Range were unknown: the first half, whatever was asked for."""
        whole = self.hub.files[unquote(self.path.split(f"{self.hub.commit}/", 1)[1])]
        self._cut_short(200, whole, {n: v for n, v in headers.items() if n != "Content-Range"})

    def _too_long(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._send(status, body * 2, headers)

    def _altered(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._send(status, body[::-1], headers)

    def _too_slow(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.hub.closing.wait(30)
        self.close_connection = True


_BODIES = {
    "cut short": _Handler._cut_short,
    "cut short once": _Handler._cut_short_once,
    "begins anew": _Handler._begins_anew,
    "too long": _Handler._too_long,
    "altered": _Handler._altered,
    "too slow": _Handler._too_slow,
}


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that holds nothing yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_address[1]}")
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


@contextmanager
def asked_by_default(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a small data set that HF_ENDPOINT names, and a client that loses patience soon."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("core.hub.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        huggingface_hub.close_session()
        hub.files = {
            "README.md": b"# a data set",
            "data/train-00001-of-00002.txt": b"second",
            "data/train-00000-of-00002.txt": b"first",
            "data/test-00000-of-00001.txt": b"never",
        }
        yield hub
        huggingface_hub.close_session()
