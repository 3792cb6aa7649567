"""What the kernel says about memory: how much a run holds, and whether it killed for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class OomKills:
    """Counts the processes that the kernel has killed because memory ran out.

    Those of this process's own control group, where it has one whose counter can be read: whatever
    killed it, the group's limit or the machine's end, it is counted there, and nobody else's is. Else
    those of the whole machine.
    """

    proc: Path = PROC
    cgroups: Path = CGROUPS

    def count(self) -> int | None:
        """So many up to now; None where the kernel does not tell."""
        for file in (*self._of_group(), self.proc / "vmstat"):
            found = _number(file, "oom_kill")
            if found is not None:
                return found
        return None

    def _of_group(self) -> Iterator[Path]:
        for line in _lines(self.proc / "self" / "cgroup"):
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers == "":  # version 2
                root, name = self.cgroups, "memory.events"
            elif "memory" in controllers.split(","):
                root, name = self.cgroups / "memory", "memory.oom_control"
            else:
                continue
            yield root / path.lstrip("/") / name
            # In a container the path may be the host's, and the group the root of what is mounted.
            yield root / name


@dataclass(frozen=True, slots=True)
class Held:
    """What a process held at most, and what the machine then had left, in bytes."""

    peak: int
    available: int | None


def held_by(pid: int, proc: Path = PROC) -> Held | None:
    """What the kernel says of the process `pid`; None where it is gone, or this is no Linux."""
    peak = _number(proc / str(pid) / "status", "VmHWM:")
    if peak is None:
        return None
    available = _number(proc / "meminfo", "MemAvailable:")
    return Held(peak * 1024, None if available is None else available * 1024)


def be_taken_first(adjustment: int = 500, file: Path = PROC / "self" / "oom_score_adj") -> None:
    """Have the kernel kill this process, and not its parent, when memory runs out.

    The number is added to what this process has inherited; 1000 would be all of the memory. Any
    process may raise its own.
    """
    try:
        file.write_text(str(min(1000, int(file.read_text()) + adjustment)))
    except (OSError, ValueError):
        return  # no Linux, or a sandbox: the kernel chooses by size, and ours is the largest


def _number(file: Path, name: str) -> int | None:
    for line in _lines(file):
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
