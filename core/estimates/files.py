"""A model's files, wherever they lie: what there is, and ranges of it. Nothing is downloaded whole."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from core.errors import ModelNotFound
from core.estimates.errors import SourceTooSlow
from core.models.intake import content_revision, listing, take_in

HASHED_BYTES: Final = 64 << 20
"""Of a folder that is small enough for its content to be read for a revision."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When who waits for an answer has waited enough. `clock` counts seconds."""

    named: str
    seconds: float
    clock: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self.clock())

    def left(self) -> float:
        """Seconds. Raises SourceTooSlow where there are none."""
        left = self.start + self.seconds - self.clock()
        if left <= 0:
            raise SourceTooSlow(self.named, self.seconds)
        return left


class ModelFiles(Protocol):
    """Files of one version of a model. Ranges may be read in several threads at once."""

    @property
    def named(self) -> str:
        """What messages call the model."""

    @property
    def sizes(self) -> Mapping[Path, int]:
        """Every file, relative to the model → its bytes."""

    @property
    def version(self) -> str:
        """Changes when the content may have."""

    def read(self, file: Path, begin: int, end: int) -> bytes:
        """The bytes [begin, end) of `file`, none of which lies behind its end."""

    def revision(self) -> str | None:
        """What a report would call the content; None where only reading all of it would tell."""


class LocalFiles:
    """A folder of this machine. Raises what `take_in` does."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ModelNotFound(f"{folder} is not a folder.", remedy="Check model.source.")
        self.named, self._root = str(folder), folder.resolve()
        found = {file: (self._root / file).stat() for file in listing(self._root)}
        self.sizes: Mapping[Path, int] = {file: stat.st_size for file, stat in found.items()}
        marks = (f"{f} {s.st_size} {s.st_mtime_ns} {s.st_ino}" for f, s in found.items())
        self.version = "\n".join(marks)

    def read(self, file: Path, begin: int, end: int) -> bytes:
        with (self._root / file).open("rb") as stream:
            stream.seek(begin)
            return stream.read(end - begin)

    def revision(self) -> str | None:
        intake = take_in(self._root)
        taken = sum(self.sizes.get(f, 0) for f in (*intake.weights, *intake.auxiliary))
        return content_revision(intake) if taken <= HASHED_BYTES else None
