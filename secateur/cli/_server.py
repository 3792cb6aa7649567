"""A server of one's own for the time of a command: started, awaited, and always stopped."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from core.errors import SecateurError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG: Final = 1
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0


class ServerDied(SecateurError):
    code = "server-died"


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise KeyboardInterrupt as SIGINT does, so `finally` runs."""
    previous = {each: signal.signal(each, signal.default_int_handler) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that arrive within are raised at its end: nothing in here is cut in half."""
    arrived: list[int] = []
    previous = {
        each: signal.signal(each, lambda number, _: arrived.append(number)) for each in SIGNALS
    }
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    if arrived:
        raise KeyboardInterrupt


@contextmanager
def own_server(data: Path, log: Path) -> Iterator[str]:
    """The URL of a server with its database, store and broker in `data`; it ends with the block.

    Raises:
        ServerDied: it ended, or was not ready in time; the message holds the end of its log.
    """
    process: subprocess.Popen[bytes] | None = None
    port = free_port()
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


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(data: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    configured = ("SECATEUR_DATABASE_URL", "SECATEUR_BROKER_URL", "SECATEUR_STORE_URL")
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "secateur.cli", "serve", "--data", data, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={name: value for name, value in os.environ.items() if name not in configured},
            # Ctrl-C reaches a terminal's whole group: the server is stopped by us, in order.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has no threads yet
        )


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
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


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
