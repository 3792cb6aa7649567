"""What a worker's main process tells of the runs that its pool's process supervises.

The main process forks, so it may not touch a device, and what a library of metrics counts in the pool's
process stays there. They share one page instead, made before the fork: one process writes a number, the
other reads it. Each number has one writer and is eight aligned bytes, and a pool process that dies
leaves what it has written.
"""

import mmap
import struct
from collections.abc import Mapping
from typing import Final

SLOTS: Final = (
    "running",
    "scanned_at",
    "host_peak_bytes",
    "gpu_bytes",
    "gpu_peak_bytes",
    "gpu_used_bytes",
    "gpu_total_bytes",
    "sent_bytes",
    "runs_done",
    "runs_failed",
    "runs_stopped",
    "runs_died",
)
_NUMBER: Final = struct.Struct("d")


class Gauges:
    """Numbers by name, all zero at first, shared with every process that is forked from this one."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, len(SLOTS) * _NUMBER.size)

    def set(self, **values: float | None) -> None:
        """What is None is not known, and stays as it is."""
        for name, value in values.items():
            if value is not None:
                _NUMBER.pack_into(self._page, self._place(name), value)

    def add(self, name: str, value: float) -> None:
        self.set(**{name: self[name] + value})

    def __getitem__(self, name: str) -> float:
        found: float = _NUMBER.unpack_from(self._page, self._place(name))[0]
        return found

    def all(self) -> Mapping[str, float]:
        return {name: self[name] for name in SLOTS}

    def _place(self, name: str) -> int:
        return SLOTS.index(name) * _NUMBER.size
