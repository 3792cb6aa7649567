"""What this machine is and how much of it is used."""

import resource
from pathlib import Path
from typing import Final

import psutil
import torch

from core.errors import InvalidSpec

_CGROUP: Final = Path("/sys/fs/cgroup")


def device(name: str) -> torch.device:
    """The device called `name`; `auto` is CUDA where there is one.

    Raises:
        InvalidSpec: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError:
        raise InvalidSpec(f"unknown device {name!r}.", remedy="Use cpu, cuda or auto.") from None
    if found.type not in ("cpu", "cuda") or (
        found.type == "cuda" and not torch.cuda.is_available()
    ):
        raise InvalidSpec(f"device {name} is not available here.", remedy="Use cpu or auto.")
    return found


def set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def held_bytes(on: torch.device) -> int:
    """What this process holds now: of the device's memory on CUDA, else of the host's."""
    if on.type == "cuda":
        return torch.cuda.memory_allocated(on)
    held: int = psutil.Process().memory_info().rss
    return held


def peak_bytes(on: torch.device) -> int:
    """The most this process has held: of the device's memory on CUDA, else of the host's."""
    if on.type == "cuda":
        return torch.cuda.max_memory_allocated(on)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_words() -> str:
    """How much memory this process has held and how much is free, for an error's message."""
    free = [int(psutil.virtual_memory().available), left_to_container(_CGROUP)]
    places = [("", peak_bytes(torch.device("cpu")), min(n for n in free if n is not None))]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # the library's omission
        places.append(
            (" on the GPU", torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[0])
        )
    return "; ".join(
        f"the run had held {held / 1e9:.2f} GB{where} at most, {left / 1e9:.2f} GB were free"
        for where, held, left in places
    )


def default_budget(on: torch.device) -> int:
    """Three quarters of what is free, and what this process already holds."""
    if on.type == "cuda":
        free, _ = torch.cuda.mem_get_info(on)
        return free * 3 // 4 + held_bytes(on)
    free = int(psutil.virtual_memory().available)
    limited = left_to_container(_CGROUP)
    return min(free, free if limited is None else limited) * 3 // 4 + held_bytes(on)


def left_to_container(cgroup: Path) -> int | None:
    """Bytes that the memory limit of this container leaves; None where there is none.

    The machine's free memory says nothing about it, and the kernel kills whoever goes beyond.
    Pages of files that nobody uses now count as free, as they do for the machine.
    """
    try:
        limit, used = ((cgroup / f"memory.{name}").read_text() for name in ("max", "current"))
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return None
    if limit.strip() == "max":
        return None
    unused = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return max(0, int(limit) - int(used) + unused)
