"""`docker compose up` without an engine: the compose file's own commands, variables and health checks
as plain processes, against a real Valkey, a real PostgreSQL and a real object store.

What differs from containers is one table, `tests.deployment.places`. Of the two object stores only
SeaweedFS comes as a package; versitygw, the default, is started where a binary is on the PATH, and
else skipped: its file is then checked as configuration, and its shell line with a stand-in.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.store.manifest import MANIFEST
from tests.deployment.compose import STORES, config, project
from tests.deployment.processes import Project
from tests.deployment.programs import install

QUICK = {
    "model": {"source": "example:kjv-dlm"},
    "method": "magnitude",
    "sparsity": 0.5,
    "calibration": {"samples": 4, "sequence_length": 64},
    "evaluation": {"nelbo": False, "agreement": False, "speed": False},
}
LONG = QUICK | {"method": "sink-wanda", "calibration": {"samples": 2000, "sequence_length": 256}}
DEADLINE = 120.0


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "versitygw" and shutil.which(name) is None:
        pytest.skip("there is no versitygw on this machine")
    return name


@pytest.fixture(scope="module")
def started(store: str) -> Iterator[Project]:
    # Not one of pytest's folders, which PostgreSQL's user could not enter.
    folder = Path(tempfile.mkdtemp(prefix="secateur-compose-"))
    folder.chmod(0o711)
    try:
        (folder / "project").mkdir()
        found = config(project(folder / "project"), SECATEUR_S3_SERVER=store)
        running = Project(found, folder, install(folder / "bin"))
        try:
            running.up()
            yield running
        finally:
            running.kill()
    finally:
        shutil.rmtree(folder)


class Client:
    """Somebody with the first key and curl."""

    def __init__(self, running: Project, key: str) -> None:
        self._url = f"http://127.0.0.1:{running.places.ports['8000']}"
        self._headers = {"Authorization": f"Bearer {key}"}
        self.tell = running.containers["worker"].said

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(
            method, self._url + path, headers=self._headers, trust_env=False, timeout=30, **more
        )

    def post(self, spec: dict[str, Any]) -> str:
        answer = self.ask("POST", "/v1/jobs", json=spec)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def await_state(self, job_id: str, *states: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while (job := self.job(job_id))["state"] not in states:
            assert time.monotonic() < deadline, f"{job}\n{self.tell()}"
            time.sleep(0.2)

    def artifact(self, job_id: str, name: str) -> tuple[str, bytes]:
        """Where the API sends a client for it, and what lies there for whoever has the link."""
        answer = self.ask("GET", f"/v1/jobs/{job_id}/artifacts/{name}")
        assert answer.status_code == 307, answer.text
        link = answer.headers["location"]
        found = httpx.get(link, trust_env=False, timeout=30)
        assert found.status_code == 200, found.text
        return link, found.content


@pytest.mark.timeout(900)  # seven programs start twice, and a busy machine takes its time
def test_up_prune_stop_and_up_again(started: Project) -> None:
    key = first_key(started)
    client = Client(started, key)
    unknown = httpx.get(f"{client._url}/v1/jobs", trust_env=False)
    assert unknown.status_code == 401

    done = client.post(QUICK)
    client.await_state(done, "succeeded", "failed")
    assert client.job(done)["state"] == "succeeded", client.job(done)
    check_artifacts(client, done, started)

    interrupted = client.post(LONG)
    client.await_state(interrupted, "running")
    # uvicorn closes what it has open and then lets the signal end it.
    well = {"worker": 0, "s3": 0, "redis": 0, "postgres": 0, "api": -signal.SIGTERM}
    assert started.stop() == well

    started.up()
    assert "sec_" not in started.containers["init"].said()
    given_back = [
        e["message"] for e in client.ask("GET", f"/v1/jobs/{interrupted}/events").json()["data"]
    ]
    assert any("shuts down" in message for message in given_back), given_back
    client.await_state(interrupted, "running")
    assert client.ask("POST", f"/v1/jobs/{interrupted}/cancel").is_success
    client.await_state(interrupted, "cancelled")
    check_artifacts(client, done, started)


def first_key(running: Project) -> str:
    """The key that `init` printed: once, and there alone."""
    keys: list[str] = re.findall(r"sec_[\w-]+", running.containers["init"].said())
    assert len(set(keys)) == 1, running.containers["init"].said()
    for name, container in running.containers.items():
        assert name == "init" or keys[0] not in container.said()
    return keys[0]


def check_artifacts(client: Client, job_id: str, running: Project) -> None:
    """Everything that the manifest names comes through links to the published port, and is whole."""
    port = running.places.ports["7070"]
    _, text = client.artifact(job_id, MANIFEST)
    files = json.loads(text)["files"]
    assert {"model/model.safetensors", "report/report.json"} <= {each["name"] for each in files}
    for each in files:
        if each["name"].endswith((".safetensors", "manifest.json")):
            link, data = client.artifact(job_id, each["name"])
            assert link.startswith(f"http://127.0.0.1:{port}/secateur/")
            assert hashlib.sha256(data).hexdigest() == each["sha256"]


def test_secrets_stay_in_their_files(started: Project) -> None:
    """Neither variables, nor arguments, nor logs of any process hold one."""
    volumes = started.places.folder / "volumes"
    names = ("database/password", "broker/password", "store/access_key", "store/secret_key")
    values = [(volumes / name).read_text() for name in names]
    for container in started.containers.values():
        told = [*container.environment.values(), *container.command, *container.health]
        for value in values:
            assert not any(value in text for text in told), container.name
            assert value not in container.said(), container.name
    for name in names:
        mode = stat.S_IMODE((volumes / name).stat().st_mode)
        assert not mode & stat.S_IRWXO, name


def test_what_the_table_does_not_know_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    found = config(project(tmp_path / "project"))
    strange = json.loads(json.dumps(found))
    strange["services"]["cache"] = {"image": "memcached:1", "command": [], "restart": "no"}
    with pytest.raises(AssertionError, match="unknown service cache"):
        Project(strange, tmp_path, tmp_path)
    strange = json.loads(json.dumps(found))
    strange["services"]["api"]["volumes"].append({"type": "volume", "source": "x", "target": "/x"})
    with pytest.raises(AssertionError, match=r"api: .*'source': 'x'"):
        Project(strange, tmp_path, tmp_path)
    strange = json.loads(json.dumps(found))
    strange["services"]["api"]["environment"]["NEW"] = "/var/lib/secateur/new"
    with pytest.raises(AssertionError, match="mounted nowhere"):
        Project(strange, tmp_path, tmp_path)


def test_versitygw_gets_its_keys_from_files_and_nothing_else(tmp_path: Path) -> None:
    """Its own line of shell, with a stand-in that prints what it was started with."""
    (tmp_path / "project").mkdir()
    service = config(project(tmp_path / "project"), SECATEUR_S3_SERVER="versitygw")["services"][
        "s3"
    ]
    for name in ("access_key", "secret_key"):
        (tmp_path / name).write_text(f"the {name}")
    standin = tmp_path / "versitygw"
    standin.write_text('#!/bin/sh\necho "$ROOT_ACCESS_KEY_ID|$ROOT_SECRET_ACCESS_KEY|$*"\n')
    standin.chmod(0o755)
    line = [word.replace("/secrets/store", str(tmp_path)) for word in service["command"]]
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def start() -> "subprocess.CompletedProcess[str]":
        command = [*service["entrypoint"], *line]
        return subprocess.run(command, env=path, capture_output=True, text=True, check=False)

    assert start().stdout == "the access_key|the secret_key|posix /data\n"
    (tmp_path / "secret_key").unlink()
    assert start().returncode != 0
