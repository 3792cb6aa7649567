"""Files that lie elsewhere, as sparse files here into which bytes come when they are needed.

Knows no protocol: whoever makes a `Filler` says how a range of a file is read.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Final

from core.crew import Tell, Watch, work_off
from core.errors import DataError, DiskFull, ModelError
from core.kept import NOTHING_KEPT, Journal
from core.spans import Span, cut, joined, minus, size

PART: Final = 8 << 20
"""Bytes of one request at most: each costs a round trip, and a break loses nothing but time."""
PIECE: Final = 1 << 18
"""Bytes that a connection holds in memory."""

OpenPart = Callable[[Path, int, int], AbstractContextManager[RawIOBase]]
"""A reader of the bytes [begin, end) of a file, whose errors have names of ours."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Files as their store announces them, named relative to the folder they are to lie in."""

    sizes: Mapping[Path, int]
    sha256: Mapping[Path, str]
    """Of those files for which the store knows it."""
    git: Mapping[Path, str] = field(default_factory=dict, kw_only=True)
    """The names that git gives the bytes of others: SHA-1 of length and content."""
    revision: str
    """Names their content without reading it."""
    open_part: OpenPart
    threads: int
    damaged: type[ModelError] | type[DataError]
    """What it is when a file's bytes are not those of its SHA-256."""

    def differs(self, folder: Path, file: Path) -> str | None:
        """How the bytes that lie there differ from what the store announces, if it says anything."""
        for name, digest, known in (
            ("SHA-256", _sha256, self.sha256),
            ("git name", git_name, self.git),
        ):
            if file in known and (found := digest(folder / file)) != known[file]:
                return f"the {name} {found}, not the {known[file]}"
        return None


class Filler:
    """A `Fill`: has ranges of files fetched, several at once, into sparse files below `folder`.

    Bytes are written to the file, and not through a memory map: both are the same pages, and where
    the disk is full a write fails with an error, while a store into a map kills the process.
    """

    def __init__(
        self,
        folder: Path,
        elsewhere: Elsewhere,
        watch: Watch,
        journal: Journal = NOTHING_KEPT,
    ) -> None:
        """`journal` knows which ranges are there already, and learns of each that comes."""
        self._folder, self._far, self._watch, self._journal = folder, elsewhere, watch, journal
        self._there = {file: journal.there(file) for file in elsewhere.sizes}
        self._done = sum(map(size, self._there.values()))
        self._all = sum(elsewhere.sizes.values())
        for file, length in elsewhere.sizes.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with (folder / file).open("ab") as made:
                made.truncate(length)

    def ensure(self, wanted: Iterable[tuple[Path, int, int]]) -> None:
        """Have these ranges (file, begin, end) in their files.

        Raises:
            DiskFull: they do not fit.
            ModelError or DataError: a file that is now whole is not what its SHA-256 says.
            SourceError, Cancelled: from those who read and watch.
        """
        spans: dict[Path, list[Span]] = {}
        for file, begin, end in wanted:
            spans.setdefault(file, []).append((begin, end))
        missing = {f: minus(joined(s), self._there[f]) for f, s in spans.items()}
        total = sum(size(parts) for parts in missing.values())
        if not total:
            return
        check_room(self._folder, total)
        parts = [(f, b, e) for f, found in missing.items() for b, e in cut(found, PART)]
        work_off(parts, self._fetch, self._far.threads, self._tell)
        for file, found in missing.items():
            self._there[file] = joined([*self._there[file], *found])
            if found and self._is_whole(file):
                self._check(file)

    def whole(self, files: Iterable[Path]) -> None:
        """Have all of `files`. Raises as `ensure`."""
        self.ensure((file, 0, self._far.sizes[file]) for file in files)

    def revision(self) -> str | None:
        """The store's word for the content, as long as not every byte of it is here."""
        return None if self.is_whole() else self._far.revision

    def is_whole(self) -> bool:
        """Whether every byte of every file is here."""
        return all(map(self._is_whole, self._far.sizes))

    def _is_whole(self, file: Path) -> bool:
        return size(self._there[file]) == self._far.sizes[file]

    def _fetch(self, part: tuple[Path, int, int], tell: Tell) -> None:
        file, at, end = part
        buffer = memoryview(bytearray(min(PIECE, end - at)))
        with self._far.open_part(file, at, end) as source, (self._folder / file).open("r+b") as out:
            out.seek(at)
            while at < end:
                count = source.readinto(buffer[: end - at])
                if not count:
                    raise EOFError(f"{file} ended at byte {at} of {end}")
                out.write(buffer[:count])
                at += count
                if not tell(count):
                    return
            if self._journal.keeps:
                # First the bytes, then the word that they are there, whatever loses power between.
                out.flush()
                os.fdatasync(out.fileno())
                self._journal.add(file, (part[1], end))

    def _tell(self, more: int) -> None:
        self._done += more
        self._watch(self._done, self._all)

    def _check(self, file: Path) -> None:
        wrong = self._far.differs(self._folder, file)
        if wrong is not None:
            self._journal.forget(file)
            raise self._far.damaged(
                f"{file}: the bytes received have {wrong} stored with them.",
                remedy="Run it again; if that fails too, the stored object is damaged: upload it anew.",
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_name(path: Path) -> str:
    """The name that git gives the bytes of a file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def check_room(folder: Path, needed: int) -> None:
    """Raise DiskFull, with the numbers, unless `needed` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"{needed} bytes are needed in {folder}, where {free} are free.",
            remedy="Free space, or work elsewhere: SECATEUR_WORK_DIR of a worker, --out of a command.",
        )
