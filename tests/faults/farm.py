"""A database, a store, a broker and workers, all real, that tests may kill."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from core.jobs.migrate import migrate
from core.jobs.states import TERMINAL, State
from core.jobs.store import JobStore
from core.jobs.views import Event, Job
from core.settings import Settings
from core.spec import parse_spec
from core.store.urls import open_store
from secateur.broker import Broker
from workers.app import create
from workers.bell import Bell
from workers.configuration import Places

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
WORKER = "import sys; from core.settings import Settings; from workers.app import main; sys.exit(main(Settings()))"


class Farm:
    """Everything below one folder, with leases short enough to watch them expire."""

    def __init__(
        self, folder: Path, *, database_url: str | None = None, store_url: str | None = None
    ) -> None:
        """With SQLite and its objects in `folder`, unless an empty database or a store is given."""
        self.folder = folder
        self.url = database_url or f"sqlite:///{folder}/jobs.db"
        migrate(self.url)
        self.jobs = JobStore.open(self.url)
        self.store_url = store_url or f"file://{folder}/store"
        self.store = open_store(self.store_url)
        (folder / "broker").mkdir()
        self.broker = Broker(folder / "broker")
        self.server = self.broker.start(folder / "broker.log")
        wait_for(self.broker.answers, "the broker")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.program = ["-c", WORKER]
        self.settings = {
            "DATABASE_URL": self.url,
            "BROKER_URL": self.broker.url,
            "STORE_URL": self.store_url,
            "WORK_DIR": f"{self.folder}/work",
            "RUNNER_ENTRY": "tests.faults.standin:work",
            "LEASE_SECONDS": "6",
            "HEARTBEAT_SECONDS": "0.5",
            "SCAN_SECONDS": "0.5",
            "CANCEL_GRACE_SECONDS": "1",
            "STORE_PATIENCE_SECONDS": "1",
        }

    def start_worker(self) -> subprocess.Popen[bytes]:
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, *self.program],
                env=clean_environment() | {f"SECATEUR_{k}": v for k, v in self.settings.items()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    @contextmanager
    def kept_staffed(self) -> Iterator[None]:
        """While a worker that leaves is replaced, as whatever runs services does."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(0.2):
                if self.workers[-1].poll() is not None:
                    self.start_worker()

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def freeze(self, worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """Stop all of a worker's processes, the main one first, while none of them writes.

        SQLite has one writer: one that is stopped within a transaction stops everybody.
        """
        frozen = family(worker.pid)
        while True:
            for process in frozen:
                process.suspend()
            with closing(sqlite3.connect(self.folder / "jobs.db", timeout=0)) as probe:
                try:
                    probe.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    for process in frozen:
                        process.resume()
                    time.sleep(0.05)
                else:
                    return frozen

    def restart_broker(self) -> None:
        self.server = self.broker.start(self.folder / "broker.log")

    def post(self, *, priority: int = 0, **wishes: str) -> str:
        """A job for the stand-in."""
        model = {"source": "example:x"}
        return self.post_spec(
            {"model": model, "sparsity": 0.5, "metadata": wishes, "priority": priority}
        )

    def post_spec(self, data: dict[str, Any]) -> str:
        """A job whose doorbell was lost: the reaper has to ring."""
        return self.jobs.create("default", parse_spec(data), datetime.now(UTC)).id

    def bell(self) -> Bell:
        """Rings as the API does."""
        places = Places(Settings(), self.url, self.broker.url, self.store_url)
        return Bell(create(places), self.broker.url)

    def get(self, job_id: str) -> Job:
        return self.jobs.get("default", job_id)

    def events(self, job_id: str) -> list[Event]:
        return self.jobs.events("default", job_id, limit=10_000).data

    def await_state(self, job_id: str, *states: State) -> Job:
        wait_for(lambda: self.get(job_id).state in states, f"{job_id} in {states}", self.tail)
        return self.get(job_id)

    def await_end(self, job_id: str) -> Job:
        return self.await_state(job_id, *TERMINAL)

    def await_progress(self, job_id: str, fraction: float = 0.1) -> Job:
        def moved() -> bool:
            job = self.get(job_id)
            return job.state is State.RUNNING and job.progress >= fraction

        wait_for(moved, f"progress of {job_id}", self.tail)
        return self.get(job_id)

    def keys(self, job_id: str) -> list[str]:
        return [info.key for info in self.store.list(f"jobs/{job_id}/")]

    def tail(self) -> str:
        log = self.folder / "worker.log"
        return log.read_text()[-6000:] if log.exists() else "no worker"

    def close(self) -> None:
        for worker in self.workers:
            for process in family(worker.pid):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            worker.wait()
        self.server.kill()
        self.server.wait()
        self.jobs.close()


def clean_environment() -> dict[str, str]:
    """Without our own settings, with this checkout's packages, and with cached bytecode.

    Starting a worker costs seconds where Python is told not to write bytecode.
    """
    dropped = ("SECATEUR_", "PYTHONDONTWRITEBYTECODE")
    base = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    cache = Path(tempfile.gettempdir()) / "secateur-tests-bytecode"
    return base | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(cache)}


def wait_for(
    true: Callable[[], bool], what: str, tell: Callable[[], str] = str, seconds: float = DEADLINE
) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}\n{tell()}")
        time.sleep(0.05)


def family(pid: int) -> list[psutil.Process]:
    """The process, then all below it; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def runner_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """The process that does the job, two levels below the worker's main one."""
    found = [p for p in family(worker.pid) if "workers.runner" in p.cmdline()]
    assert len(found) == 1, [p.cmdline() for p in family(worker.pid)]
    return found[0]


def await_gone(processes: list[psutil.Process]) -> None:
    def gone() -> bool:
        return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)

    wait_for(gone, f"the end of {processes}")


def stop(worker: subprocess.Popen[bytes]) -> int:
    worker.send_signal(signal.SIGTERM)
    return worker.wait(DEADLINE)
