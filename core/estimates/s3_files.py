"""A model's files in a bucket, read by range and in no other version than was listed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from core.errors import BrokenCheckpoint, ModelNotFound, TextNotFound
from core.estimates.files import Deadline
from core.s3_model import listed_files
from core.s3_objects import Listed, Objects
from core.sources import S3Source

PIECE = 1 << 16


class S3Files:
    """Objects of a bucket under names of files; `of_model` and `of_text` list them."""

    def __init__(self, objects: Objects, listed: Mapping[Path, Listed], deadline: Deadline) -> None:
        self.named, self._objects = str(objects.source), objects
        self._listed, self._deadline = listed, deadline
        self.sizes: Mapping[Path, int] = {file: held.size for file, held in listed.items()}
        marks = (f"{file} {held.size} {held.etag}" for file, held in sorted(listed.items()))
        self.version = hashlib.sha256("\n".join(marks).encode()).hexdigest()

    @classmethod
    def of_model(cls, source: S3Source, deadline: Deadline) -> "S3Files":
        """All objects below `source`. Raises what `core.s3_model.take_in` does for a listing."""
        objects = Objects(source, ModelNotFound, hasty=True)
        listed = listed_files(objects)
        deadline.left()
        return cls(objects, listed, deadline)

    @classmethod
    def of_text(cls, source: S3Source, deadline: Deadline) -> "S3Files":
        """The one object that `source` names. Raises TextNotFound, SourceError, SourceRefused."""
        objects = Objects(source, TextNotFound, hasty=True)
        return cls(objects, {Path(Path(source.key).name): objects.look(source.key)}, deadline)

    def read(self, file: Path, begin: int, end: int) -> bytes:
        if begin == end:
            return b""
        found = bytearray()
        with self._objects.open(self._listed[file], begin, end) as stream:
            while data := stream.read(min(PIECE, end - begin - len(found))):
                found += data
                self._deadline.left()
        if len(found) != end - begin:
            raise BrokenCheckpoint(f"{file} ended at byte {begin + len(found)} of {end}.")
        return bytes(found)

    def revision(self) -> str | None:
        # A run that reads every byte names it by these, and not by what the store says of them.
        return None
