"""A compose project as plain processes: started in order, watched, and stopped as an engine would.

Commands, variables and health checks are the compose file's own. What an image adds (its entry
point, its variables) comes from our Dockerfile, or for other images from the table `IMAGES`.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from tests.deployment.compose import DOCKERFILE, ROOT
from tests.deployment.dockerfile import stages
from tests.deployment.places import Places
from tests.postgres import _nobody as nobody

START_SECONDS: Final = 120.0
NOBODY_IN_CONTAINERS: Final = "postgres"

Service = dict[str, Any]
Popen = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Image:
    """What a container gets from its image."""

    entrypoint: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[["Container"], None] = lambda _: None


@dataclass
class Container:
    """One service's process, and what is known about it."""

    name: str
    command: list[str]
    health: list[str]
    environment: dict[str, str]
    mounts: dict[str, Path]
    image: Image
    grace: float
    log: Path
    process: Popen | None = None

    def run(self, command: list[str], **more: Any) -> "subprocess.CompletedProcess[str]":
        """Something else in the same surroundings, to its end."""
        return subprocess.run(
            command, capture_output=True, text=True, check=False, **self._surroundings(), **more
        )

    def start(self) -> None:
        for target, path in self.mounts.items():
            if "tmpfs" in path.parts:
                shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, exist_ok=True)
            if self.name == NOBODY_IN_CONTAINERS and os.geteuid() == 0:
                _give(path, writable=not target.startswith("/secrets"))
        self.image.prepare(self)
        with self.log.with_suffix(".out").open("wb") as out, self.log.open("ab") as err:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=err, start_new_session=True, **self._surroundings()
            )

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended:\n{self.said()}"
        return self.run(self.health, timeout=30).returncode == 0

    def stop(self) -> int:
        """The exit status, after the signal of the image and within the grace of the service."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(self.image.stop_signal)
        return self.process.wait(self.grace)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def said(self) -> str:
        """What it printed on stdout since the last start, and the end of its log."""
        return self.log.with_suffix(".out").read_text() + self.log.read_text()[-4000:]

    def _surroundings(self) -> dict[str, Any]:
        user = nobody() if self.name == NOBODY_IN_CONTAINERS else {}
        return {"env": self.environment, "cwd": self.log.parent, **user}


class Project:
    """All containers of one project."""

    def __init__(self, config: dict[str, Any], folder: Path, programs: Path) -> None:
        """`folder` holds everything that the project keeps; `programs` is what PATH begins with."""
        self.places, self._programs = Places(folder), programs
        (folder / "log").mkdir(exist_ok=True)
        services = config["services"]
        order = {name: service.get("depends_on", {}) for name, service in services.items()}
        self.containers = {
            name: self._container(name, services[name])
            for name in TopologicalSorter(order).static_order()
        }
        self._services = services

    def up(self) -> None:
        """Start everything in order, each when what it depends on has ended well or is healthy."""
        for name, container in self.containers.items():
            container.start()
            if self._services[name]["restart"] == "no":
                assert container.process is not None
                status = container.process.wait(START_SECONDS)
                assert status == 0, f"{name} ended with {status}:\n{container.said()}"
            else:
                _await(container.healthy, f"{name} to be healthy", container.said)

    def stop(self) -> dict[str, int]:
        """Stop what still runs, the last first; how each ended."""
        staying = [n for n, service in self._services.items() if service["restart"] != "no"]
        order = [name for name in reversed(self.containers) if name in staying]
        return {name: self.containers[name].stop() for name in order}

    def kill(self) -> None:
        for container in reversed(self.containers.values()):
            container.kill()

    def _container(self, name: str, service: Service) -> Container:
        mounts = self.places.mounts(name, service)
        image = _image(name, service)

        def here(text: str) -> str:
            return self.places.localised(text, mounts)

        given = image.environment | (service.get("environment") or {})
        entry = service.get("entrypoint") or image.entrypoint
        return Container(
            name=name,
            command=[here(word) for word in [*entry, *service["command"]]],
            health=[here(word) for word in _health(service)],
            environment={key: here(value) for key, value in given.items()} | self._machine(),
            mounts=mounts,
            image=image,
            grace=_seconds(service.get("stop_grace_period", "10s")),
            log=self.places.folder / "log" / f"{name}.log",
        )

    def _machine(self) -> dict[str, str]:
        """What a container's file system would settle: where programs and our packages are."""
        return {
            "PATH": f"{self._programs}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.places.folder),
            "OMP_NUM_THREADS": "1",
        }


def _initialise(container: Container) -> None:
    """What PostgreSQL's image does before its first start."""
    environment = container.environment
    if (Path(environment["PGDATA"]) / "PG_VERSION").exists():
        return
    options = shlex.split(environment["POSTGRES_INITDB_ARGS"])
    user, password = (environment[f"POSTGRES_{word}"] for word in ("USER", "PASSWORD_FILE"))
    made = container.run(
        ["initdb", f"--username={user}", f"--pwfile={password}", "--auth=scram-sha-256", *options]
    )
    assert made.returncode == 0, made.stdout + made.stderr
    statement = f'CREATE DATABASE "{environment["POSTGRES_DB"]}"'
    created = container.run(["postgres", "--single", "postgres"], input=statement)
    assert created.returncode == 0, created.stderr


IMAGES: Final = {
    "postgres": Image(
        environment={"PGDATA": "/var/lib/postgresql/data"},
        stop_signal=signal.SIGINT,
        prepare=_initialise,
    ),
    "redis": Image(),
    "s3": Image(),
}


def _image(name: str, service: Service) -> Image:
    """Fails on a service that is neither built by us nor in the table."""
    if name in IMAGES:
        return IMAGES[name]
    target = "worker" if "-worker:" in service["image"] else "api"
    assert service["image"].startswith(f"secateur-{target}:"), f"unknown service {name}"
    stage = stages(DOCKERFILE)[target]
    return Image(entrypoint=stage.entrypoint, environment=stage.environment)


def _health(service: Service) -> list[str]:
    kind, *words = service.get("healthcheck", {}).get("test", ["NONE"])
    return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else list(words)


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+)([hms])", text)
    return float(sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts))


def _give(path: Path, *, writable: bool) -> None:
    """As a volume's owner and the service's groups do: let `nobody` read, or own, what is there."""
    user, group = nobody()["user"], nobody()["group"]
    for each in (path, *path.rglob("*")):
        os.chown(each, user if writable else -1, group)


def _await(true: Callable[[], bool], what: str, tell: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {what}:\n{tell()}"
        time.sleep(0.1)
