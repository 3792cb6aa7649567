"""A whole service that can be harmed: API, workers, broker, database and store, each a process."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil

from core.store.s3_options import MIN_PART
from secateur.broker import free_port
from tests.buckets import credentials, new_bucket
from tests.chaos import clock, entry
from tests.faults.farm import Farm, clean_environment, family, wait_for
from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.postgres import PostgresServer, running_postgres
from tests.seaweed import seaweed_server

Kind = Literal["sqlite", "postgres"]

LEASE_SECONDS = 5.0
HEARTBEAT_SECONDS = 0.5
SCAN_SECONDS = 0.5
RECOVERY_SECONDS = LEASE_SECONDS + 2 * HEARTBEAT_SECONDS + SCAN_SECONDS
"""From a worker's death to the end of its lease being noticed, at the latest: the reaper waits for
two heartbeats that do not come."""

_DISK_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a world is, how long it lasts, and which services it stands on."""

    database: Kind
    jobs: int = 40
    real: int = 1
    workers: int = 3
    jobs_a_harm: int = 1
    """How many end, at least, from one harm to the next."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a world stands on and may be taken away.

    With PostgreSQL goes a bucket behind a proxy that fails; with SQLite a folder on a disk that
    fills up. Each is what its users have.
    """

    postgres: PostgresServer | None = None
    proxy: FaultyProxy | None = None
    store_url: str | None = None
    disk: Path | None = None


class World(Farm):
    """A farm with an API in front of it, in which whatever ends is started again."""

    def __init__(self, folder: Path, plan: Plan, ground: Ground) -> None:
        url = ground.postgres.new_database() if ground.postgres else None
        super().__init__(folder, database_url=url, store_url=ground.store_url)
        self.plan, self.ground, self.random = plan, ground, random.Random(plan.seed)
        self.clock = folder / "clock"
        self.program = ["-m", clock.__name__, str(self.clock)]
        self.settings |= {
            "RUNNER_ENTRY": f"{entry.__name__}:work",
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "SCAN_SECONDS": str(SCAN_SECONDS),
            "STORE_PATIENCE_SECONDS": "3",
            "THREADS": "1",
            "WORK_DIR": str((ground.disk or folder) / "work"),
        }
        self.broker_away = False
        """While it is, nobody is to start it again."""
        port = free_port("127.0.0.1")
        self.api_url = f"http://127.0.0.1:{port}"
        self._serve = [sys.executable, "-m", "secateur.cli", "api", "--port", str(port)]
        self.api = self._start_api()
        for _ in range(plan.workers):
            self.start_worker()
        wait_for(self.serves, "the API", self.tail)
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._keeper.start()

    def serves(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.api_url}/healthz", trust_env=False).is_success
        return False

    def any_worker(self) -> "subprocess.Popen[bytes]":
        return self.random.choice(self.workers)

    def stop_family(self, worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """SIGSTOP to a worker and all below it; with SQLite while none of them writes, since its
        one writer would stop everybody."""
        if self.ground.postgres is None:
            return self.freeze(worker)
        frozen = family(worker.pid)
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        return frozen

    def close(self) -> None:
        self._closing.set()
        self._keeper.join()
        self.api.kill()
        self.api.wait()
        super().close()

    def _start_api(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "api.log").open("ab") as log:
            return subprocess.Popen(
                self._serve,
                env=clean_environment() | {f"SECATEUR_{k}": v for k, v in self.settings.items()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def _keep(self) -> None:
        """What a service manager does."""
        while not self._closing.wait(0.2):
            if self.api.poll() is not None:
                self.api = self._start_api()
            if self.server.poll() is not None and not self.broker_away:
                self.restart_broker()
            for worker in [w for w in self.workers if w.poll() is not None]:
                self.workers.remove(worker)
                self.start_worker()


@contextmanager
def ground_for(plan: Plan, folder: Path) -> Iterator[Ground]:
    """The services that `plan` names, started, and stopped at the end."""
    with ExitStack() as running:
        if plan.database == "sqlite":
            yield Ground(disk=running.enter_context(_small_disk(folder / "disk")))
            return
        running.enter_context(credentials())
        (folder / "seaweed").mkdir()
        seaweed = running.enter_context(seaweed_server(folder / "seaweed"))
        proxy = running.enter_context(faulty_proxy(seaweed))
        bucket = new_bucket(seaweed).bucket
        query = f"endpoint={proxy.url}&part_size={MIN_PART}&timeout=2&attempts=2"
        yield Ground(
            postgres=running.enter_context(running_postgres()),
            proxy=proxy,
            store_url=f"s3://{bucket}/results?{query}",
        )


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system that a test can fill without filling everybody's; None where we may not mount."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def world(folder: Path, plan: Plan) -> Iterator[World]:
    """A world as `plan` wants it, below `folder`."""
    with ground_for(plan, folder) as ground:
        home = folder / "home"
        home.mkdir()
        made = World(home, plan, ground)
        try:
            yield made
        finally:
            made.close()


def sleep_until(moment: float) -> None:
    """Until `time.monotonic()` is `moment`."""
    time.sleep(max(moment - time.monotonic(), 0.0))
