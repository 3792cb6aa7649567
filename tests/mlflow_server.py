"""A real MLflow server on the loopback interface, from an environment of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

SCRIPT: Final = Path(__file__).resolve().parents[1] / "tools" / "mlflow_server.sh"
START_SECONDS: Final = 400.0
"""Two minutes were seen, on two cores that seven others used."""


def environment() -> Path:
    """Where MLflow's server is installed, made if need be.

    Without a network the tests are skipped, except under CI, where that would hide their loss.
    """
    made = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return Path(made.stdout.strip())
    why = f"MLflow's server cannot be installed: {made.stderr.strip()[-500:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The URL of a server that keeps everything below `folder`."""
    program = environment() / "bin" / "mlflow"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    command = [
        str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    # Its worker process is a child of its own: the session ends with all of them.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "MLFLOW_"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env=clean | quiet, cwd=folder, start_new_session=True
        )
    try:
        _await(server, url, log)
        yield url
    finally:
        os.killpg(server.pid, 15)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait()


def _await(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", trust_env=False, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"MLflow's server did not start: {log.read_text()[-4000:]}")
