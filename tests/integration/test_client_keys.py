"""The key in the client's requests: to the server it is for, and to nobody else."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import pytest

from core.errors import BadRequest, SecateurError
from core.jobs.credentials import new_text
from core.key_errors import KeyMissing, KeyRevoked, KeyUnknown, ScopeMissing
from tests.clients import Connect
from tests.served import NOW, Served, served

KEY = new_text(Random(1).randbytes)
DATA = b"the artifact"
ARTIFACT = {
    "name": "model/config.json",
    "bytes": len(DATA),
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "media_type": "application/json",
}


@dataclass
class Elsewhere:
    """A server that gives `answers[path]`, a body or the address to go to, and remembers the keys."""

    url: str = ""
    answers: dict[str, bytes | str] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    it = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            it.seen.append((self.path, self.headers.get("Authorization")))
            answer = it.answers[self.path]
            body = b"" if isinstance(answer, str) else answer
            self.send_response(307 if isinstance(answer, str) else 200)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        it.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield it
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def home() -> Iterator[Elsewhere]:
    """The server that the key is for."""
    with elsewhere() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Elsewhere]:
    with elsewhere() as server:
        server.answers["/file"] = DATA
        yield server


def listed(url: str) -> bytes:
    return json.dumps({"data": [{**ARTIFACT, "url": url}]}).encode()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_redirected_download_leaves_the_key_behind(
    connect: Connect, home: Elsewhere, other: Elsewhere, tmp_path: Path, name: str
) -> None:
    home.answers = {
        "/v1/jobs/j/artifacts": listed("/v1/jobs/j/artifacts/c"),
        "/v1/jobs/j/artifacts/c": f"{other.url.replace('127.0.0.1', name)}/file",
    }
    with connect(home.url, api_key=KEY) as client:
        client.download("j", tmp_path)
    assert (tmp_path / "model" / "config.json").read_bytes() == DATA
    assert {key for _, key in home.seen} == {f"Bearer {KEY}"}
    assert other.seen == [("/file", None)]


def test_a_redirect_back_home_may_keep_it(
    connect: Connect, home: Elsewhere, tmp_path: Path
) -> None:
    home.answers = {
        "/v1/jobs/j/artifacts": listed("/first"),
        "/first": "/second",
        "/second": DATA,
    }
    with connect(home.url, api_key=KEY) as client:
        client.download("j", tmp_path)
    assert home.seen[-1] == ("/second", f"Bearer {KEY}")


def test_a_list_that_leads_elsewhere_does_not_take_it_along(
    connect: Connect, home: Elsewhere, other: Elsewhere, tmp_path: Path
) -> None:
    home.answers["/v1/jobs/j/artifacts"] = listed(f"{other.url}/file")
    with connect(home.url, api_key=KEY) as client:
        client.download("j", tmp_path)
    assert other.seen == [("/file", None)]


def test_without_a_key_none_is_sent(
    connect: Connect, home: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_API_KEY", KEY)  # the command line's; a program names its own
    home.answers["/v1/jobs/j/artifacts"] = b'{"data": []}'
    with connect(home.url) as client:
        assert client.artifacts("j") == ()
    assert home.seen == [("/v1/jobs/j/artifacts", None)]


@pytest.mark.parametrize(
    "key", ["", "sec_short", "hunter2 hunter2", KEY + "\r\nX: y", KEY[:-1] + "é"]
)
def test_what_is_no_key_is_refused_unseen(connect: Connect, key: str) -> None:
    with pytest.raises(BadRequest, match="SECATEUR_API_KEY") as refused:
        connect(api_key=key)
    assert not key or key not in str(refused.value)


def test_refusals_are_the_servers_own(connect: Connect, tmp_path: Path) -> None:
    with served(tmp_path) as server:
        _check_refusals(connect, server)


def _check_refusals(connect: Connect, server: Served) -> None:
    reader, revoked = server.key("jobs:read"), server.key()
    server.keys.revoke(revoked.key.id, NOW)
    spec = server.spec()
    with connect(server.url, api_key=reader.text + "\n") as client:
        assert list(client.list()) == []
        with pytest.raises(ScopeMissing, match="jobs:write"):
            client.submit(spec)
    refusals: list[tuple[str | None, type[SecateurError]]] = [
        (None, KeyMissing),
        (KEY, KeyUnknown),
        (revoked.text, KeyRevoked),
    ]
    for key, kind in refusals:
        with connect(server.url, api_key=key) as client, pytest.raises(kind) as refused:
            client.submit(spec)
        assert refused.value.exit_status == 5
        assert refused.value.remedy
