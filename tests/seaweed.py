"""A SeaweedFS server of our own: it writes to disk, checks signatures and encrypts."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.buckets import CREDENTIALS

_TRIES: Final = 3  # another process may take a port between our look and the server's
_SECONDS: Final = 60.0
_CONFIGURATION: Final = {
    "identities": [
        {
            "name": "tests",
            "credentials": [
                {
                    "accessKey": CREDENTIALS["AWS_ACCESS_KEY_ID"],
                    "secretKey": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                }
            ],
            "actions": ["Admin"],
        }
    ],
    "kms": {
        "default_provider": "local",
        "providers": {"local": {"type": "local", "enableOnDemandCreate": True}},
    },
}
_VARIABLES: Final = {
    "WEED_S3_SSE_KEK": f"{1:064x}",  # without a key to encrypt keys with it refuses SSE
    "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # one volume a bucket is enough for a test's
}


class _PortTaken(Exception):
    pass


@contextmanager
def seaweed_server(folder: Path, *, volume_mb: int = 64) -> Iterator[str]:
    """The URL of a server that keeps everything below `folder`, its log too, in up to 200 volumes."""
    (folder / "s3.json").write_text(json.dumps(_CONFIGURATION))
    for _ in range(_TRIES):
        try:
            server, url = _start(folder, volume_mb)
        except _PortTaken:
            continue
        try:
            yield url
        finally:
            # It would wait for its own volume server to be missed; nothing it holds matters now.
            server.kill()
            server.wait(10)
        return
    raise AssertionError(f"SeaweedFS did not start: {_tail(folder)}")


def _start(folder: Path, volume_mb: int) -> tuple["subprocess.Popen[bytes]", str]:
    command, url = _command(folder, volume_mb)
    with (folder / "seaweed.log").open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | _VARIABLES)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise _PortTaken
        if _answers(url):
            return server, url
        time.sleep(0.05)
    server.kill()
    server.wait(10)
    raise AssertionError(f"SeaweedFS did not get ready: {_tail(folder)}")


def _command(folder: Path, volume_mb: int) -> tuple[list[str], str]:
    """Master, volume server, filer and S3 gateway in one process on loopback."""
    parts = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(parts))
    http, grpc = ports[: len(parts)], ports[len(parts) :]
    given = {f"{part}.port": port for part, port in zip(parts, http, strict=True)}
    given |= {f"{part}.port.grpc": port for part, port in zip(parts, grpc, strict=True)}
    (folder / "data").mkdir(exist_ok=True)
    options = given | {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": volume_mb,
        "volume.max": 200,
        "filer": "true",
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.localSocket": folder / "s3.sock",
        "s3.autoCreateBucket": "false",  # a misspelt bucket is to be an error, as elsewhere
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    weed = Path(sys.executable).with_name("weed")
    command = [str(weed), "server", *(f"-{name}={value}" for name, value in options.items())]
    return command, f"http://127.0.0.1:{http[-1]}"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _tail(folder: Path) -> str:
    return (folder / "seaweed.log").read_text(errors="replace")[-3000:]
