"""A model's files on a hub, of which parts are read. The way there is a run's, in a hurry."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.estimates.files import Deadline
from core.hub_line import Patience
from core.hub_repository import Repository, line_to_hub, look_up
from core.hub_sources import HubSource

SILENCE: Final = 5.0
"""Seconds without a byte, after which a hub is away."""


class HubFiles:
    """The files that a hub lists at a commit. Raises what reading them does: SourceUnavailable,
    SourceRefused, ModelNotFound, SourceTooSlow."""

    def __init__(self, far: Repository) -> None:
        self._far = far
        self.named, self.version = f"hf://{far.source.name} at {far.commit[:12]}", far.commit
        self.sizes: Mapping[Path, int] = {file: held.size for file, held in far.files.items()}

    def revision(self) -> str | None:
        return self._far.commit

    def read(self, file: Path, begin: int, end: int) -> bytes:
        with self._far.open(file, begin, end) as part:
            return part.readall()


@contextmanager
def opened_hub(model: HubSource, deadline: Deadline) -> Iterator[HubFiles]:
    """The files of `model` at the commit that its revision has now, for as long as the block runs.

    Raises what `look_up` does, and SourceTooSlow.
    """
    with line_to_hub(Patience(1, SILENCE, pause=0.0, left=deadline.left)) as line:
        yield HubFiles(look_up(line, model))
