"""A moto server of our own, started once, and buckets in it that no other test sees."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from core.store.s3_client import connect
from core.store.s3_options import MIN_PART, S3Options

CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "a secret for tests",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_OTHER_VARIABLES: Final = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")
KEYS_A_PAGE: Final = 3
_NUMBERS: Final = count()


@contextmanager
def credentials() -> Iterator[None]:
    """The environment with the test's credentials, and with no others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _OTHER_VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """The URL of a server that keeps everything in memory; its log lies in `folder`."""
    log = folder / "moto.log"
    with log.open("wb") as out:
        # Port 0: it takes a free one and says in its log which.
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        # So few keys a page that every listing takes several.
        environment = os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(KEYS_A_PAGE)}
        server = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(10)


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        for line in log.read_text().splitlines():
            if "Running on http" in line:
                return line.rpartition(" ")[2]
        time.sleep(0.05)
    raise AssertionError(f"moto did not start: {log.read_text()}")


def new_bucket(server: str, **options: Any) -> S3Options:
    """Options of an empty bucket; in small parts, and soon tired of waiting."""
    given = {"part_size": MIN_PART, "threads": 2, "attempts": 3, "timeout": 20.0, **options}
    made = S3Options(bucket=f"bucket-{next(_NUMBERS)}", endpoint=server, **given)
    with credentials():
        connect(made, server).create_bucket(Bucket=made.bucket)
    return made
