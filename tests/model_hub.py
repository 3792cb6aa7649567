"""A hub of models on the loopback interface, the store it sends downloads to, and their faults."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from core.hub_line import Patience

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "org/name"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the body of a file, and how often."""

    kind: str
    times: int = 1
    at: int = 0
    """Bytes of the answer that are sent before."""
    status: int = 503
    location: str = ""


@dataclass
class ModelHub:
    """What it holds, how it fails, and what it was asked."""

    url: str
    store: str = ""
    """Where large files come from, as signed addresses; from here where it is empty."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Of the one model org/name, at COMMIT."""
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "v1": COMMIT})
    token: str | None = None
    """What opens it; everybody may read where there is none."""
    page: int = 1000
    sizes: dict[str, int] = field(default_factory=dict)
    """Name of a file → the size that is listed, where it is another than the file's."""
    listed: list[object] | None = None
    """The listing, where it is another than that of `files`."""
    called: str = NAME
    """The name that the hub gives the model."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """A word in the path of a request → what happens to it."""
    expiring: bool = False
    """Whether a signed address is good for one answer only."""
    signed: int = 0
    asked: list[str] = field(default_factory=list)
    """METHOD path range of every request, to the store as well."""
    tokens: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Authorization of every request."""
    sent: int = 0
    """Bytes of files."""
    connections: int = 0
    closing: Event = field(default_factory=Event)

    def put(self, folder: Path) -> None:
        """Hold what `folder` holds."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.files[file.relative_to(folder).as_posix()] = file.read_bytes()

    def downloads(self, name: str) -> list[str]:
        """The requests for the bytes of a file, as they reached whoever sent them."""
        place = "/signed/" if self.store and is_large(name) else f"/resolve/{COMMIT}/"
        return [line for line in self.asked if f"{place}{quote(name)}" in line]

    def fault_of(self, path: str) -> Fault | None:
        for word, fault in self.faults.items():
            if word in path:
                if fault.times <= 0:
                    return None
                self.faults[word] = Fault(
                    fault.kind, fault.times - 1, fault.at, fault.status, fault.location
                )
                return fault
        return None


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def entry(name: str, body: bytes, size: int | None = None) -> dict[str, object]:
    """A file as the hub lists it."""
    length = len(body) if size is None else size
    if not is_large(name):
        oid = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": name, "size": length, "oid": oid}
    sha256 = hashlib.sha256(body).hexdigest()
    large = {"oid": sha256, "size": length, "pointerSize": 135}
    return {"type": "file", "path": name, "size": length, "oid": "0" * 40, "lfs": large}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ModelHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def setup(self) -> None:
        super().setup()
        self.hub.connections += 1

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"GET {path} {self.headers.get('Range', '')}".rstrip())
        self.hub.tokens.append((path, self.headers.get("Authorization")))
        signed = path.startswith("/signed/")
        fault = self.hub.fault_of(self.path)
        if fault is not None and fault.kind in BEFORE:
            BEFORE[fault.kind](self, fault)
        elif not signed and self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":  # fmt: skip
            self.answer(401, b"{}", {})
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            self._tree()
        elif path.startswith(f"/api/models/{NAME}/revision/"):
            self._revision(unquote(path.rsplit("/", 1)[1]))
        elif signed:
            self._signed(unquote(path.removeprefix("/signed/")), fault)
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            self._resolve(unquote(path.split(f"{COMMIT}/", 1)[1]), fault)
        else:
            self.answer(404, b"{}", {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: object, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)

    def _revision(self, revision: str) -> None:
        commit = self.hub.revisions.get(revision, revision if revision == COMMIT else None)
        if commit is None:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            self._json({"id": self.hub.called, "sha": commit})

    def _tree(self) -> None:
        files, sizes = self.hub.files, self.hub.sizes
        listed = self.hub.listed
        if listed is None:
            listed = [entry(name, body, sizes.get(name)) for name, body in files.items()]
            listed.append({"type": "directory", "path": "a", "size": 0, "oid": "0" * 40})
        at = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        more = {}
        if at + self.hub.page < len(listed):
            # As mirrors do, whose links lead to the hub that they copy.
            more["Link"] = f'<https://hub.invalid/api?cursor={at + self.hub.page}>; rel="next"'
        self._json(listed[at : at + self.hub.page], **more)

    def _resolve(self, name: str, fault: Fault | None) -> None:
        if name not in self.hub.files:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        elif self.hub.store and is_large(name):
            self.hub.signed += 1
            where = f"{self.hub.store}/signed/{quote(name)}?signature=s3cret-{self.hub.signed}"
            self.answer(302, b"", {"Location": where})
        else:
            self._body(name, fault)

    def _signed(self, name: str, fault: Fault | None) -> None:
        if self.hub.expiring and not self.path.endswith(f"-{self.hub.signed}"):
            self.answer(403, b"expired", {})
            return
        if self.hub.expiring:
            self.hub.signed += 1
        self._body(name, fault)

    def _body(self, name: str, fault: Fault | None) -> None:
        whole = self.hub.files[name]
        begin, end = 0, len(whole)
        asked = self.headers.get("Range")
        headers = {"Accept-Ranges": "bytes"}
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            begin, end = int(first), int(last) + 1
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(whole)}"
        send = BODIES.get(fault.kind if fault else "", plain)
        send(self, fault or Fault(""), whole, (begin, end), headers)

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.hub.sent += len(data)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


Span = tuple[int, int]
Headers = dict[str, str]


def plain(to: _Handler, _: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    length = {"Content-Length": str(end - begin)}
    to.head(206 if "Content-Range" in headers else 200, headers | length)
    to.write(whole[begin:end])


def cut(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    length = {"Content-Length": str(end - begin)}
    to.head(206 if "Content-Range" in headers else 200, headers | length)
    to.write(whole[begin : min(begin + fault.at, end)])
    to.close_connection = True


def stalled(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    cut(to, fault, whole, span, headers)
    to.hub.closing.wait(20)


def altered(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """One bit is another one."""
    changed = bytearray(whole)
    changed[-1] ^= 1
    plain(to, fault, bytes(changed), span, headers)


def longer(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """Without saying so before: in chunks, whose end nobody announces."""
    begin, end = span
    to.head(206 if "Content-Range" in headers else 200, headers | {"Transfer-Encoding": "chunked"})
    for data in (whole[begin:end], b"more" * 1000):
        to.write(b"%x\r\n%b\r\n" % (len(data), data))
    to.write(b"0\r\n\r\n")


def shorter_file(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """Another file than the one that was listed."""
    begin, end = span
    there = {"Content-Range": f"bytes {begin}-{end - 2}/{len(whole) - 1}"}
    changed = headers | there if "Content-Range" in headers else headers
    to.head(206 if "Content-Range" in headers else 200, changed | {"Content-Length": str(end - begin - 1)})  # fmt: skip
    to.write(whole[begin : end - 1])


def whole_file(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    """As if Range were unknown."""
    plain(to, fault, whole, (0, len(whole)), {})


def other_part(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    there = {"Content-Range": f"bytes 1-{len(whole) - 1}/{len(whole)}"}
    to.head(206, headers | there | {"Content-Length": str(len(whole) - 1)})
    to.write(whole[1:])


def no_part(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    to.head(206, {"Content-Length": str(len(whole))})
    to.write(whole)


def zipped(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    plain(to, fault, whole, span, headers | {"Content-Encoding": "gzip"})


def dripping(to: _Handler, fault: Fault, whole: bytes, span: Span, headers: Headers) -> None:
    begin, end = span
    to.head(206 if "Content-Range" in headers else 200, headers | {"Content-Length": str(end - begin)})  # fmt: skip
    for at in range(begin, end):
        if to.hub.closing.wait(0.05):
            return
        to.write(whole[at : at + 1])


def refused(to: _Handler, fault: Fault) -> None:
    to.answer(fault.status, b"{}", {"Retry-After": "0"})


def moved(to: _Handler, fault: Fault) -> None:
    to.answer(302, b"", {"Location": fault.location})


def deaf(to: _Handler, _: Fault) -> None:
    to.hub.closing.wait(20)
    to.close_connection = True


def hung_up(to: _Handler, _: Fault) -> None:
    to.close_connection = True


def nonsense(to: _Handler, _: Fault) -> None:
    to.answer(200, b"<html>", {})


def endless(to: _Handler, _: Fault) -> None:
    """JSON that goes on for ever."""
    to.head(200, {"Transfer-Encoding": "chunked"})
    data = b" " * (1 << 20)
    while not to.hub.closing.is_set():
        try:
            to.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        except OSError:
            return
        time.sleep(0.001)


BEFORE: dict[str, Callable[[_Handler, Fault], None]] = {
    "refused": refused,
    "moved": moved,
    "deaf": deaf,
    "hung up": hung_up,
    "nonsense": nonsense,
    "endless": endless,
}
BODIES: dict[str, Callable[[_Handler, Fault, bytes, Span, Headers], None]] = {
    "cut": cut,
    "stalled": stalled,
    "altered": altered,
    "longer": longer,
    "shorter file": shorter_file,
    "whole file": whole_file,
    "other part": other_part,
    "no part": no_part,
    "zipped": zipped,
    "dripping": dripping,
}


@contextmanager
def _server(hub: ModelHub) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    # A reader that has seen enough hangs up.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def model_hub(*, with_store: bool = True) -> Iterator[ModelHub]:
    """A hub that holds nothing yet, and sends to another server for large files."""
    hub = ModelHub("")
    with ExitStack() as stack:
        hub.url = stack.enter_context(_server(hub))
        if with_store:
            hub.store = stack.enter_context(_server(hub))
        yield hub


@contextmanager
def asked_by_default(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """The hub that HF_ENDPOINT names, and a line that loses patience soon."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("core.hub_model.get_token", lambda: None)
    monkeypatch.setattr("core.hub_model.PATIENCE", Patience(attempts=3, silence=0.3, pause=0.0))
    with model_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
