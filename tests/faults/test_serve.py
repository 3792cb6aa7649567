"""`secateur serve` as a person runs it: one process that answers for all it starts."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes

import httpx
import psutil
import pytest

from core.jobs.credentials import SCOPES
from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from tests.faults.farm import DEADLINE, await_gone, clean_environment, family, wait_for


class Serve:
    """A server process on its own folder, with runs that need no model."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        handle, name = tempfile.mkstemp(suffix=".out", dir=folder.parent)
        self.output = Path(name)
        environment = clean_environment() | {
            "SECATEUR_RUNNER_ENTRY": "tests.faults.standin:work",
            "SECATEUR_SCAN_SECONDS": "0.5",
            **settings,
        }
        with os.fdopen(handle, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "secateur.cli", "serve", "--data", folder, "--port", "0"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def await_ready(self) -> str:
        wait_for(lambda: len(self.lines()) >= 3 or self.process.poll() is not None, "ready")
        ready = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+)", self.lines()[0])
        assert ready, self.lines()
        return ready[1]

    def members(self) -> dict[str, psutil.Process]:
        """The children by what they are; a worker's own child is not among them."""
        names = {"valkey-server": "broker", " worker": "worker", " api": "api"}
        found: dict[str, psutil.Process] = {}
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # a zombie is one, too
                line = " ".join(process.cmdline())
                found |= {name: process for mark, name in names.items() if mark in line}
        return found


def _started(folder: Path, **settings: str) -> Iterator[Serve]:
    started = Serve(folder, **settings)
    try:
        yield started
    finally:
        for process in family(started.process.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        started.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    yield from _started(tmp_path / "a folder")


@pytest.fixture(scope="module")
def staying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """For tests that leave it running."""
    yield from _started(tmp_path_factory.mktemp("staying") / "a folder")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(serve: Serve, number: signal.Signals) -> None:
    url = serve.await_ready()
    # serve, broker, api, worker and its pool
    wait_for(lambda: len(family(serve.process.pid)) == 5, "all processes")
    processes = family(serve.process.pid)
    serve.process.send_signal(number)
    assert serve.process.wait(DEADLINE) == 0
    await_gone(processes)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)
    assert stat.S_IMODE(serve.folder.stat().st_mode) == 0o700


def test_a_signal_before_it_is_ready_stops_everything(serve: Serve) -> None:
    wait_for(lambda: len(family(serve.process.pid)) >= 3, "the first children")
    processes = family(serve.process.pid)
    serve.process.terminate()
    assert serve.process.wait(DEADLINE) == 0
    await_gone(processes)
    assert serve.lines() == []


def test_kill_9_leaves_no_process_and_the_next_server_goes_on(serve: Serve) -> None:
    serve.await_ready()
    processes = family(serve.process.pid)
    serve.process.kill()
    serve.process.wait()
    await_gone(processes)
    again = Serve(serve.folder)
    again.await_ready()
    again.process.terminate()
    assert again.process.wait(DEADLINE) == 0


def test_a_child_that_dies_is_started_again(staying: Serve) -> None:
    url = staying.await_ready()
    for name in ("broker", "worker", "api"):
        died = staying.members()[name]
        died.kill()
        wait_for(lambda d=died, n=name: staying.members().get(n, d) != d, f"another {name}")  # type: ignore[misc]
    wait_for(lambda: _is_ready(url), "readiness")
    job = httpx.post(
        f"{url}/v1/jobs",
        json={"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5},
        trust_env=False,
    ).json()
    _await_success(url, job["id"])


def test_a_second_server_on_the_same_folder_is_refused(staying: Serve) -> None:
    staying.await_ready()
    second = Serve(staying.folder)
    assert second.process.wait(DEADLINE) == 2
    assert f"process {staying.process.pid}" in second.output.read_text()
    assert "--data" in second.output.read_text()
    assert staying.process.poll() is None


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_curl_line_posts_a_job(staying: Serve) -> None:
    url = staying.await_ready()
    line = staying.lines()[2]
    assert line.startswith("curl ")
    posted = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    job_id = re.search(r"job_[0-9a-z]{24}", posted)
    assert job_id, posted
    _await_success(url, job_id[0])


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[tuple[Serve, str]]:
    """A server with a key in its database, and the key."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    url = f"sqlite:///{folder}/secateur.db"
    migrate(url)
    with KeyStore.open(url) as keys:
        text = keys.create("search", "a test", SCOPES, datetime.now(UTC), token_bytes).text
    for started in _started(folder, SECATEUR_ALLOWED_HOSTS="a.example,b.example"):
        yield started, text


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_server_with_a_key_starts_and_says_how_to_use_it(keyed: tuple[Serve, str]) -> None:
    serve, key = keyed
    url = serve.await_ready()
    assert httpx.get(f"{url}/v1/jobs", trust_env=False).status_code == 401
    posted = subprocess.run(
        serve.lines()[2],
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SECATEUR_API_KEY": key},
    ).stdout
    assert re.search(r"job_[0-9a-z]{24}", posted), posted
    headers = {"Authorization": f"Bearer {key}"}
    for host, status in [("b.example", 200), ("c.example", 421)]:  # the settings reached the API
        answer = httpx.get(f"{url}/v1/jobs", headers={**headers, "Host": host}, trust_env=False)
        assert answer.status_code == status


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _await_success(url: str, job_id: str) -> None:
    def succeeded() -> bool:
        state = httpx.get(f"{url}/v1/jobs/{job_id}", trust_env=False).json()["state"]
        assert state in ("queued", "running", "succeeded")
        return bool(state == "succeeded")

    wait_for(succeeded, f"the end of {job_id}")
