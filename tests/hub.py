"""A hub on the loopback interface, the store it sends downloads to, and what both are asked.

It speaks the hub's protocol as far as models and data sets are read; `tests.hub_uploads` is the side
that takes them.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tests.hub_faults import BEFORE, BODIES, Answering, Fault, plain

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "org/name"
API = re.compile(rf"/api/(?:models|datasets)/{NAME}/(?P<what>revision|tree)/(?P<at>[^/]+)")
FILE = re.compile(rf"(?:/datasets)?/{NAME}/resolve/{COMMIT}/(?P<name>.+)")
SIGNED = "/signed/"


@dataclass
class FakeHub:
    """What it holds, how it fails, and what it was asked."""

    url: str
    store: str = ""
    """Where large files come from, as signed addresses; from here where it is empty."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Of the one model or data set org/name, at COMMIT."""
    revisions: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(("main", "v1", "refs/convert/parquet"), COMMIT)
    )
    token: str | None = None
    """What opens it; everybody may read where there is none."""
    page: int = 1000
    sizes: dict[str, int] = field(default_factory=dict)
    """Name of a file → the size that is told before, where it is another than the file's."""
    listed: list[object] | None = None
    """The listing, where it is another than that of `files`."""
    called: str = NAME
    """The name that the hub gives it."""
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

    def fault_of(self, method: str, path: str) -> Fault | None:
        for word, fault in self.faults.items():
            if word in path and (method == "GET" or fault.kind in BEFORE):
                self.faults[word] = replace(fault, times=fault.times - 1)
                return fault if fault.times > 0 else None
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


class _Handler(Answering):
    hub: FakeHub

    def setup(self) -> None:
        super().setup()
        self.hub.connections += 1

    def sent(self, count: int) -> None:
        self.hub.sent += count

    def reply(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".rstrip())
        self.hub.tokens.append((path, self.headers.get("Authorization")))
        fault = self.hub.fault_of(self.command, self.path)
        if fault is not None and fault.kind in BEFORE:
            BEFORE[fault.kind](self, fault)
        elif path.startswith(SIGNED):
            self._signed(unquote(path.removeprefix(SIGNED)), fault)
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, b"{}", {})
        elif path == "/api/models":
            self._json([])
        elif found := API.fullmatch(path):
            tree = found["what"] == "tree" and found["at"] == COMMIT
            self._tree() if tree else self._revision(unquote(found["at"]))
        elif found := FILE.fullmatch(path):
            self._resolve(unquote(found["name"]), fault)
        else:
            self._absent("Repo")

    def _absent(self, what: str) -> None:
        self.answer(404, b"{}", {"X-Error-Code": f"{what}NotFound"})

    def _json(self, value: object, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)

    def _revision(self, revision: str) -> None:
        commit = self.hub.revisions.get(revision, revision if revision == COMMIT else None)
        if commit is None:
            self._absent("Revision")
        else:
            files = [{"rfilename": name} for name in self.hub.files]
            self._json({"id": self.hub.called, "sha": commit, "siblings": files})

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
            self._absent("Entry")
        elif self.hub.store and is_large(name):
            self.hub.signed += 1
            where = f"{self.hub.store}{SIGNED}{quote(name)}?signature=s3cret-{self.hub.signed}"
            self.answer(302, b"", {"Location": where})
        elif self.command == "HEAD":
            self._about(name)
        else:
            self._body(name, fault)

    def _about(self, name: str) -> None:
        """What the hub's library wants to know before it downloads."""
        body = self.hub.files[name]
        size = self.hub.sizes.get(name, len(body))
        digest = hashlib.sha256(body).hexdigest()
        self.head(
            200, {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Content-Length": str(size)}
        )

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
            begin, end = int(first), int(last or len(whole) - 1) + 1
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(whole)}"
        send = BODIES.get(fault.kind if fault else "", plain)
        send(self, fault or Fault(""), whole, (begin, end), headers)


@contextmanager
def _server(hub: FakeHub) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"hub": hub, "closing": hub.closing})
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
def serving(*, with_store: bool = True) -> Iterator[FakeHub]:
    """A hub that holds nothing yet, and sends to another server for large files."""
    hub = FakeHub("")
    with ExitStack() as stack:
        hub.url = stack.enter_context(_server(hub))
        if with_store:
            hub.store = stack.enter_context(_server(hub))
        yield hub


@contextmanager
def asked_by_default(
    monkeypatch: pytest.MonkeyPatch, *, with_store: bool = True
) -> Iterator[FakeHub]:
    """The hub that HF_ENDPOINT names, and no token for it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere/token")
    with serving(with_store=with_store) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
