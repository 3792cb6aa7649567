"""The object store protocol. Keys are relative POSIX paths such as `jobs/ID/EPOCH/report/report.json`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    bytes: int
    modified: datetime = field(compare=False)
    """When it was stored. Two stores with the same objects differ in nothing else."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A write that has begun and not ended. Its writer may be dead."""

    key: str
    """Where the object is to appear; a local folder may know only the beginning of a long key."""
    begun: datetime
    """When it began or, where that is not kept, when it was last written to."""


class ObjectStore(Protocol):
    """Whole objects under keys. A reader never sees half an object.

    Every method raises `StoreUnavailable` when the store cannot be reached or written,
    `DiskFull` when it has no room, and `ValueError` for a key that leaves the store.
    """

    def put_file(
        self, key: str, source: Path, *, sha256: str | None = None, resume: bool = False
    ) -> None:
        """Store a copy of the file `source`; it appears complete or not at all.

        `sha256`: the file's, where it is known, which may save a reading. Raises CorruptObject where
        the file has another.
        `resume`: an earlier process may have stored it, or some of its parts. Where the store can
        tell that they are this file's, they are not sent again.
        """

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data`; it appears complete or not at all."""

    def open(self, key: str, start: int = 0) -> BinaryIO:
        """A reader placed at byte `start`. Raises ArtifactNotFound."""

    def get_file(self, key: str, target: Path) -> None:
        """Write the object to the file `target`, as fast as the store can. Raises ArtifactNotFound.

        What has been written when it fails stays there.
        """

    def read_bytes(self, key: str) -> bytes:
        """The whole object; for small ones. Raises ArtifactNotFound."""

    def info(self, key: str) -> ObjectInfo:
        """Size of one object. Raises ArtifactNotFound."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, each once.

        In key order, but for S3 stores that keep folders: there one folder after the other.
        """

    def delete_prefix(self, prefix: str) -> int:
        """Remove every object below `prefix/`; how many there were."""

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Every upload to a key beginning with `prefix`."""

    def abort_uploads(self, prefix: str, older_than: timedelta, now: datetime) -> int:
        """Remove uploads to keys beginning with `prefix` that began more than `older_than` ago.

        How many there were. A writer that lives may lose what it was writing; it gets an error.
        """

    def presign(self, key: str, filename: str, seconds: int) -> str | None:
        """A URL at which anyone may GET the object for `seconds`, to be saved as `filename`.

        None where only this process can read it. Whether the object exists is not looked at.
        """

    def prepare(self) -> None:
        """Make the folder or bucket that everything lies in, unless it is there.

        Safe to call at once from several processes. Raises StoreUnavailable.
        """

    def check(self) -> None:
        """Raise StoreUnavailable unless an object can be written, read and removed now."""
