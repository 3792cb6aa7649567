"""A server of one's own for the time of a command: started, awaited, and always stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from core.errors import SecateurError
from core.processes import environment, python
from secateur.broker import free_port
from secateur.children import start
from secateur.cli._signals import held_back

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0


class ServerDied(SecateurError):
    code = "server-died"


@contextmanager
def own_server(data: Path, log: Path) -> Iterator[str]:
    """The URL of a server with its database, store and broker in `data`; it ends with the block.

    Raises:
        ServerDied: it ended, or was not ready in time; the message holds the end of its log.
    """
    process: subprocess.Popen[bytes] | None = None
    port = free_port("127.0.0.1")
    try:
        with held_back():
            process = _start(data, port, log)
        _await_ready(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        # A second Ctrl-C waits until everything is stopped.
        with held_back():
            if process is not None:
                _stop(process)


def _start(data: Path, port: int, log: Path) -> "subprocess.Popen[bytes]":
    configured = ("SECATEUR_DATABASE_URL", "SECATEUR_BROKER_URL", "SECATEUR_STORE_URL")
    env = {name: value for name, value in os.environ.items() if name not in configured}
    command = python("secateur.cli", "serve", "--data", str(data), "--port", str(port))
    return start(command, log=log, env=environment(env))


def _await_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(base_url=url, timeout=5, trust_env=False) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServerDied(f"the server ended at once:\n{_tail(log)}")
            with suppress(httpx.TransportError):
                if http.get("/readyz").is_success:
                    return
            time.sleep(0.1)
    raise ServerDied(f"the server was not ready after {_START_SECONDS:g} s:\n{_tail(log)}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
