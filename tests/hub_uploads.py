"""The side of the hub that takes models: its protocol, and its faults. Everything is in memory."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
import yaml

TOKEN = "hf_write"
LARGE = ".safetensors"
"""The ending of files that go to large-file storage."""
Fault = Literal["cut", "cut once", "altered"]


@dataclass
class Repo:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Commit → its files, of the large ones too the bytes."""
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        seed = f"{len(self.commits)}{branch}{sorted(files)}"
        oid = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def files(self, revision: str) -> dict[str, bytes] | None:
        return self.commits.get(self.branches.get(revision, revision))


@dataclass
class UploadHub:
    """What it holds, how it fails, and what it was asked."""

    url: str
    organisations: set[str] = field(default_factory=lambda: {"org"})
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 → bytes, of what was uploaded, committed or not."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    part_size: int | None = None
    """Large files are asked for in parts of so many bytes, where it is set."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """SHA-256 of a large file → what goes wrong while it comes."""
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """A word in a request's METHOD path → the statuses that the next such requests get."""
    ignored: set[str] = field(default_factory=set)
    """Names in the repository's .gitignore."""
    asked: list[str] = field(default_factory=list)

    def uploads(self) -> list[str]:
        """SHA-256 of every large file that was sent, as often as it was."""
        return [line.split("/")[2] for line in self.asked if line.startswith("PUT /lfs/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: UploadHub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        line = f"{self.command} {path}"
        self.hub.asked.append(line)
        if path.startswith("/lfs/") and self.command == "PUT":
            self._take(path)
            return
        body = self._body()
        if path.startswith("/lfs/"):  # such an address is signed, and comes without a token
            self._complete(path.split("/")[2])
            return
        for word, statuses in self.hub.statuses.items():
            if word in line and statuses:
                self._send(statuses.pop(0), {"error": "as the test wants it"})
                return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            # The hub does not tell strangers what there is.
            self._send(401, {"error": "Invalid username or password."}, "RepoNotFound")
            return
        self._route(path, body)

    def _route(self, path: str, body: bytes) -> None:
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif path == "/lfs-verify":
            asked = json.loads(body)
            held = self.hub.large.get(asked["oid"])
            self._send(200 if held is not None and len(held) == asked["size"] else 422, {})
        elif path.startswith("/api/models/"):
            name, rest = "/".join(parts[2:4]), parts[4:]
            repo = self.hub.repos.get(name)
            if repo is None:
                self._send(404, {"error": "Repository not found"}, "RepoNotFound")
            else:
                self._repo(repo, name, rest, body)
        else:
            self._send(404, {})

    def _repo(self, repo: Repo, name: str, rest: list[str], body: bytes) -> None:
        what = rest[0] if rest else "revision"
        revision = "/".join(rest[1:]) or "main"
        files = repo.files(revision)
        if what == "branch":
            exists = revision in repo.branches
            repo.branches.setdefault(revision, repo.branches["main"])
            self._send(409 if exists else 200, {})
        elif files is None:
            self._send(404, {"error": "Revision not found"}, "RevisionNotFound")
        elif what == "revision":
            sha = repo.branches.get(revision, revision)
            self._send(200, {"id": name, "sha": sha, "private": repo.private, "siblings": []})
        elif what == "paths-info":
            asked = parse_qs(body.decode())["paths"]
            self._send(200, [_info(path, files[path]) for path in asked if path in files])
        elif what == "preupload":
            self._preupload(json.loads(body))
        elif what == "commit":
            self._commit(repo, name, revision, files, body)
        else:
            self._send(404, {})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.hub.organisations:
            self._send(403, {"error": "You don't have the rights to create a model there"})
        elif name in self.hub.repos:
            self._send(409, {"error": "You already created this model repo"})
        else:
            repo = Repo(asked.get("visibility") == "private")
            repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial")
            self.hub.repos[name] = repo
            self._send(200, {"url": f"{self.hub.url}/{name}"})

    def _validate(self, content: str) -> None:
        front = content.split("---\n")[1] if content.startswith("---\n") else "a: [1"
        try:
            yaml.safe_load(front)
        except yaml.YAMLError:
            self._send(400, {"errors": [{"message": "no metadata"}], "warnings": []})
        else:
            self._send(200, {"errors": [], "warnings": []})

    def _preupload(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": file["path"] in self.hub.ignored,
            }
            for file in asked["files"]
        ]
        self._send(200, {"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects: list[dict[str, Any]] = []
        for each in asked["objects"]:
            found = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.large:
                found["actions"] = self._actions(each["oid"], each["size"])
            objects.append(found)
        self._send(200, {"transfer": "basic", "objects": objects})

    def _actions(self, oid: str, size: int) -> dict[str, Any]:
        place, step = f"{self.hub.url}/lfs/{oid}", self.hub.part_size
        verify = {"href": f"{self.hub.url}/lfs-verify"}
        if step is None:
            return {"upload": {"href": f"{place}?signature=secret"}, "verify": verify}
        urls = {str(n + 1): f"{place}/{n + 1}" for n in range(-(-size // step))}
        header = {"chunk_size": str(step), **urls}
        return {"upload": {"href": f"{place}/complete", "header": header}, "verify": verify}

    def _take(self, path: str) -> None:
        oid, _, part = path.removeprefix("/lfs/").partition("/")
        fault = self.hub.faults.get(oid)
        if fault in ("cut", "cut once"):
            if fault == "cut once":
                del self.hub.faults[oid]
            self.rfile.read(10)
            self.close_connection = True
            return
        data = self._body()
        if part:
            self.hub.parts.setdefault(oid, {})[int(part)] = data
        elif hashlib.sha256(data).hexdigest() == oid:
            self.hub.large[oid] = data[::-1] if fault == "altered" else data
        else:
            self._send(400, {"error": "BadDigest"})
            return
        self._send(200, {}, etag=hashlib.md5(data, usedforsecurity=False).hexdigest())

    def _complete(self, oid: str) -> None:
        whole = b"".join(data for _, data in sorted(self.hub.parts[oid].items()))
        right = hashlib.sha256(whole).hexdigest() == oid
        if right:
            self.hub.large[oid] = whole
        self._send(200 if right else 400, {})

    def _commit(
        self, repo: Repo, name: str, branch: str, files: dict[str, bytes], body: bytes
    ) -> None:
        lines = [json.loads(line) for line in body.decode().splitlines()]
        after = dict(files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                after[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and value["oid"] in self.hub.large:
                after[value["path"]] = self.hub.large[value["oid"]]
            else:
                self._send(400, {"error": f"cannot do {line['key']}"})
                return
        oid = repo.commit(branch, after, lines[0]["value"]["summary"])
        self._send(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, value: object, code: str = "", etag: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        self.wfile.write(body)


def _info(path: str, data: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    about: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    if path.endswith(LARGE):
        oid = hashlib.sha256(data).hexdigest()
        about["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
        data = f"version …\noid sha256:{oid}\nsize {len(data)}\n".encode()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return {**about, "oid": git.hexdigest()}


@contextmanager
def uploads(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    """A hub that HF_ENDPOINT names, with a token for it, and a client that never sleeps."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = UploadHub(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # Xet is another service with a protocol of its own; large files then go by LFS.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    huggingface_hub.close_session()
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()
