"""Where things of a container lie when it is a plain process: the one table of all differences."""

import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

VOLUMES: Final = frozenset(
    (
        "database",
        "broker",
        "store",
        "metrics",
        "models",
        "work",
        "objects",
        "database-files",
        "broker-files",
    )
)
HOSTS: Final = frozenset(("postgres", "redis", "s3"))
# Of PostgreSQL, Valkey, S3, the API, workers' metrics, and the three inner servers of SeaweedFS.
PORTS: Final = ("5432", "6379", "7070", "8000", "9464", "9333", "8080", "8888")
# A container's own folders. None of these names may reach a process.
_FOREIGN: Final = re.compile(r"(?<![\w./])/(secrets|models|data|var/lib/(secateur|postgresql))\b")
_BESIDE: Final = 10_000  # SeaweedFS also listens so far above each of its ports


class Places:
    """Folders for volumes and tmpfs below `folder`, and a free port for each port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))

    def mounts(self, name: str, service: dict[str, Any]) -> dict[str, Path]:
        """The service's mounted paths and where they lead. Fails on a mount that is not known."""
        # The folder of all secrets is no mount, only where three of them meet.
        found = {"/secrets": self.folder / "volumes"}
        for mount in service.get("volumes", []):
            assert mount["type"] == "volume", f"{name}: {mount}"
            assert mount["source"] in VOLUMES, f"{name}: {mount}"
            found[mount["target"]] = self.folder / "volumes" / mount["source"]
        for entry in service.get("tmpfs", []):
            target = entry.partition(":")[0]
            found[target] = self.folder / "tmpfs" / name / target.strip("/").replace("/", "-")
        return found

    def localised(self, text: str, mounts: dict[str, Path]) -> str:
        """`text` with this machine's hosts, ports and paths, and nothing else changed.

        Fails on a path of the container that leads nowhere.
        """
        paths = {path: str(target) for path, target in mounts.items()}
        hosts = dict.fromkeys(HOSTS, "127.0.0.1")
        words = {"0.0.0.0": "127.0.0.1", **self.ports}
        pattern = "|".join(
            [
                rf"(?<![\w./])(?P<path>{_any(paths)})(?![\w.-])",
                rf"(?<=[/@])(?P<host>{_any(hosts)})(?=:\d)",
                rf"(?<![\w.])(?P<word>{_any(words)})(?![\w.])",
            ]
        )
        table = paths | hosts | words
        here = re.sub(pattern, lambda match: table[match[0]], text)
        assert not _FOREIGN.search(here), f"{text!r} names a path that is mounted nowhere"
        return here


def _any(table: dict[str, str]) -> str:
    # The longer ones first: a path below another must not be taken for it.
    return "|".join(re.escape(key) for key in sorted(table, key=len, reverse=True)) or r"(?!)"


def _free_ports(count: int) -> list[str]:
    found: list[str] = []
    with ExitStack() as held:
        while len(found) < count:
            with suppress(OSError, OverflowError):
                port = _hold(held, 0)
                _hold(held, port + _BESIDE)
                found.append(str(port))
    return found


def _hold(held: ExitStack, port: int) -> int:
    taken = held.enter_context(socket.socket())
    taken.bind(("127.0.0.1", port))
    return int(taken.getsockname()[1])
