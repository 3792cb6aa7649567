"""What earlier runs have left to go on from: found in the store, brought here, and verified."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ArtifactNotFound, DiskFull, StoreError
from core.jobs.objects import FOLDER, RESUME, resume_of
from core.points import Saved, difference
from core.store.base import ObjectStore

logger = logging.getLogger(__name__)

INDEX: Final = "index.json"
MAX_INDEX_BYTES: Final = 16 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """One point."""

    name: Annotated[str, Field(pattern=r"^[0-9]{5}-[a-z]{1,20}$")]
    epoch: Annotated[int, Field(ge=1)]
    """Below which it lies."""
    origin: Annotated[str, Field(max_length=64)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def kind(self) -> str:
        return self.name.partition("-")[2]

    def key(self, job_id: str) -> str:
        return f"{resume_of(job_id, self.epoch)}/{self.name}.safetensors"


class Index(_Part):
    """The points of one run, in order; the first of them may be those of runs before it."""

    schema_version: Literal[1] = 1
    origin: Annotated[str, Field(max_length=64)]
    run: dict[str, str]
    """What their bytes depend on."""
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for what the runs of a job up to `epoch` have left. `complain` is told of what cannot be
    used, and why."""

    store: ObjectStore
    job_id: str
    epoch: int
    complain: Callable[[str], None]

    def furthest(
        self, run: Mapping[str, str], folder: Path, look: Callable[[int, int], None]
    ) -> tuple[list[Entry], list[Saved]]:
        """The longest row of intact points that some run has left, and where they are in `folder`.

        That need not be the newest run's: another machine, which could use nothing, may have begun
        anew meanwhile. Nor the one with most points: these may be damaged, and a later run, which saw
        that, may have come further than what is left of them.
        """
        found = list(self._indexes())
        ours = [index for index in found if not difference(index.run, run)]
        if found and not ours:
            why = difference(found[0].run, run)
            self.complain(f"finished parts of {found[0].origin} are not used: {why}")
        entries: list[Entry] = []
        saved: list[Saved] = []
        for index in sorted(ours, key=lambda index: -len(index.entries)):  # of equals the newest
            if len(index.entries) > len(saved):
                there = list(self._fetched(index, folder, look))
                if len(there) > len(saved):
                    entries, saved = index.entries[: len(there)], there
        return entries, saved

    def _fetched(
        self, index: Index, folder: Path, look: Callable[[int, int], None]
    ) -> Iterator[Saved]:
        """Its points up to the first that is not what the index says, as files in `folder`."""
        for done, entry in enumerate(index.entries):
            look(done, len(index.entries))
            path = folder / entry.sha256
            problem = "" if path.exists() else self._fetch(entry, path)
            if problem:
                path.unlink(missing_ok=True)
                what = f"the point {entry.name} of {entry.origin} {problem}"
                self.complain(f"{what}: it is ignored, and so is all that follows")
                return
            yield Saved(entry.kind, entry.origin, path)

    def _indexes(self) -> Iterator[Index]:
        """Those that can be read, the newest first."""
        pattern = re.compile(rf"{FOLDER}{re.escape(self.job_id)}/([0-9]{{1,9}})/{RESUME}/{INDEX}")
        found = [
            (int(match[1]), info)
            for info in self.store.list(f"{FOLDER}{self.job_id}/")
            if (match := pattern.fullmatch(info.key)) and int(match[1]) <= self.epoch
        ]
        for epoch, info in sorted(found, key=lambda each: each[0], reverse=True):
            try:
                if info.bytes > MAX_INDEX_BYTES:
                    raise ValueError(f"it has {info.bytes} bytes")
                index = Index.model_validate_json(self.store.read_bytes(info.key))
                if any(entry.epoch > epoch for entry in index.entries):
                    raise ValueError("it names later runs")
            except (ValidationError, ValueError) as error:
                logger.warning("%s: %s", info.key, error)
                self.complain(f"the index of finished parts of epoch {epoch} is damaged: ignored")
            except ArtifactNotFound:
                continue
            else:
                yield index

    def _fetch(self, entry: Entry, path: Path) -> str:
        """What is wrong with a point, which is in the file `path` unless it is missing."""
        key = entry.key(self.job_id)
        try:
            if self.store.info(key).bytes != entry.bytes:
                return "has another size"
            self.store.get_file(key, path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except ArtifactNotFound:
            return "is missing"
        except (StoreError, DiskFull, OSError) as error:
            logger.warning("%s: %s", key, error)
            return "cannot be brought here"
        return "" if digest == entry.sha256 else "differs from its SHA-256"
