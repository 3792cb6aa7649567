"""What Docker Compose makes of our files, without an engine."""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKERFILE: Final = ROOT / "docker/Dockerfile"
SCRIPTS: Final = Path(sysconfig.get_path("scripts"))
STORES: Final = ("versitygw", "seaweedfs")


def project(folder: Path) -> Path:
    """Our compose files in `folder`, where a developer's own `.env` has no say."""
    shutil.copy(ROOT / "docker-compose.yml", folder)
    shutil.copytree(ROOT / "docker", folder / "docker")
    return folder


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`docker-compose` with `arguments` in `folder`, and no other variables of its or ours."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("SECATEUR_", "COMPOSE_"))}
    return subprocess.run(
        [SCRIPTS / "docker-compose", *arguments],
        cwd=folder,
        env=base | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def config(folder: Path, *options: str, **variables: str) -> dict[str, Any]:
    """The project as the engine would get it."""
    done = run(folder, *options, "config", "--format", "json", **variables)
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(_as_started(done.stdout))
    return parsed


def _as_started(text: str) -> str:
    # `config` doubles the dollars that an engine would get single, so that it can be read again.
    return text.replace("$$", "$")
