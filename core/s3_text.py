"""A calibration text in a bucket as a file here."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.crew import Watch
from core.errors import DataError, TextNotFound
from core.filling import Elsewhere, Filler
from core.s3_objects import Listed, Objects
from core.sources import S3Source

MAX_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of an object."""

    objects: Objects
    held: Listed
    folder: Path
    watch: Watch

    @property
    def revision(self) -> str:
        """`s3-version:…` where the bucket keeps versions, else `s3-etag:…`."""
        version, etag = self.held.version, self.held.etag.strip('"')
        return f"s3-version:{version}" if version else f"s3-etag:{etag}"

    def paths(self) -> Iterator[Path]:
        """The file, fetched when it is asked for.

        Raises:
            DataError: its bytes are not those of the SHA-256 stored with it.
            DiskFull, SourceError: it does not fit, or did not come.
        """
        name = Path(self.held.key).name
        file = Path(name)
        elsewhere = Elsewhere(
            sizes={file: self.held.size},
            sha256={file: self.held.sha256} if self.held.sha256 else {},
            revision=self.revision,
            open_part=lambda _, begin, end: self.objects.open(self.held, begin, end),
            threads=self.objects.options.threads,
            damaged=DataError,
        )
        Filler(self.folder, elsewhere, self.watch).whole([file])
        yield self.folder / file


@contextmanager
def snapshot(source: S3Source, scratch: Path, watch: Watch) -> Iterator[Snapshot]:
    """The object that `source` names, as it is now.

    Raises:
        TextNotFound: there is none.
        DataError: it is too large.
        SourceError, SourceRefused: the store does not answer, or not to us.
    """
    objects = Objects(source, TextNotFound)
    held = objects.look(source.key)
    if held.size > MAX_BYTES:
        raise DataError(
            f"{source} has {held.size} bytes, more than {MAX_BYTES}.", remedy="Name a smaller file."
        )
    with tempfile.TemporaryDirectory(prefix="text-", dir=scratch) as folder:
        yield Snapshot(objects, held, Path(folder), watch)
