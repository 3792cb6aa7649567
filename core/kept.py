"""A folder that keeps downloads for later runs: which ranges it holds, and who may write there.

Nothing in it is believed because it is there: a file that is whole is held against its digest by each
run that uses it.
"""

import fcntl
import json
import os
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from core.spans import Span, joined

JOURNAL: Final = "ranges.jsonl"
LOCK: Final = "lock"
FILES: Final = "files"


class Journal(Protocol):
    """Which ranges of which files were received, as far as anybody has to know later."""

    @property
    def keeps(self) -> bool:
        """Whether it is worth telling."""

    def there(self, file: Path) -> list[Span]:
        """The ranges of `file` that are in their place."""

    def add(self, file: Path, span: Span) -> None:
        """`span` of `file` is on the disk. Called from several threads."""

    def forget(self, file: Path) -> None:
        """What is there of `file` is worth nothing."""


class NothingKept:
    """The journal of a folder that goes with its run."""

    keeps = False

    def there(self, file: Path) -> list[Span]:  # noqa: ARG002 - the protocol's signature
        return []

    def add(self, file: Path, span: Span) -> None:
        """Nobody will ask."""

    def forget(self, file: Path) -> None:
        """Nobody will ask."""


NOTHING_KEPT: Final = NothingKept()


class Ranges:
    """A journal in a file to which lines are only ever added: `["name", begin, end]`.

    An empty range means that all before it counts no more. A line that was cut by a crash is none.
    """

    keeps = True

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._there: dict[Path, list[Span]] = {}
        text = path.read_bytes() if path.exists() else b""
        for line in text.splitlines():
            self._read(line)
        if text and not text.endswith(b"\n"):
            self._append(b"\n")

    def there(self, file: Path) -> list[Span]:
        return joined(self._there.get(file, ()))

    def add(self, file: Path, span: Span) -> None:
        self._there.setdefault(file, []).append(span)
        self._append(json.dumps([file.as_posix(), *span]).encode() + b"\n")

    def forget(self, file: Path) -> None:
        self._there.pop(file, None)
        self._append(json.dumps([file.as_posix(), 0, 0]).encode() + b"\n")

    def _read(self, line: bytes) -> None:
        try:
            name, begin, end = json.loads(line)
            file, span = Path(name), (int(begin), int(end))
        except (ValueError, TypeError):
            return
        if span[0] >= span[1]:
            self._there.pop(file, None)
        else:
            self._there.setdefault(file, []).append(span)

    def _append(self, line: bytes) -> None:
        with self._lock, self._path.open("ab") as out:
            out.write(line)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of one download lie, and what is known to be there."""

    files: Path
    journal: Journal
    hold: "Hold | None" = None
    alone: bool = True
    """Whether nobody else reads there."""


class Hold:
    """One run's right to a kept folder: alone as long as it writes, beside others when it only reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # The lock goes with whoever uses the files, at the latest with the process.
        weakref.finalize(self, os.close, descriptor)

    def share(self) -> None:
        """Let others read, too: everything is there."""
        # Whoever is faster than this finds nothing to write either.
        with suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def place_in(folder: Path) -> Place | None:
    """The place in the kept `folder`, which is made; None while another run is writing there."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    hold = Hold(descriptor)
    for how in (fcntl.LOCK_EX, fcntl.LOCK_SH):
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        (folder / FILES).mkdir(exist_ok=True)
        return Place(folder / FILES, Ranges(folder / JOURNAL), hold, how == fcntl.LOCK_EX)
    return None
