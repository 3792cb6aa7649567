"""What a run has finished, point by point, and what an earlier run had finished before it.

A point is a safetensors file: its tensors, and one JSON document of facts in its metadata.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.identity import identity_digest
from core.points import Points, Saved

FACTS = "facts"


class Spent(BaseModel):
    """What a run had taken when it kept a point, with what earlier runs contributed to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: dict[str, float]
    block_sequences: int
    reached: float
    """Of the whole run."""


class Facts(BaseModel):
    """What a point says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    run: str
    """The digest of all that its bytes depend on."""
    then: str
    """Where a run goes on that has this point: `block 20 of 32`."""
    spent: Spent
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One finished part of an earlier run."""

    facts: Facts
    origin: str
    path: Path

    @contextmanager
    def tensors(self) -> Iterator[Callable[[str], Tensor]]:
        """For the length of the block, a way to read its tensors by their names; once, since the file
        is gone after that: all points together can be as large as the model."""
        with safe_open(self.path, framework="pt") as file:
            yield file.get_tensor
        self.path.unlink()


class Journal:
    """Points in the order in which a run makes them: those that an earlier run had are taken, and
    from then on new ones are kept."""

    def __init__(self, points: Points, run: Mapping[str, str], spent: Callable[[], Spent]) -> None:
        self._points, self._run, self._spent = points, dict(run), spent
        self._digest = identity_digest(run)
        self._ahead: list[Point] = []
        self._number = 0

    def open(self, look: Callable[[int, int], None]) -> Point | None:
        """Find what an earlier run has left; the last point of it."""
        for saved in self._points.open(self._run, look):
            facts = _facts(saved.path)
            if facts is None or (facts.kind, facts.run) != (saved.kind, self._digest):
                self._points.tell(f"{_named(saved)} is not of this run: ignored", level="warning")
                break
            self._ahead.append(Point(facts, saved.origin, saved.path))
        return self._ahead[-1] if self._ahead else None

    def forget(self, why: str) -> None:
        """Go on as if the points ahead had not been found."""
        self._points.tell(why, level="warning")
        self._ahead.clear()

    def tell(self, message: str, data: Mapping[str, str]) -> None:
        self._points.tell(message, data=data)

    def first(self) -> Point | None:
        """The point that comes next, without taking it."""
        return self._ahead[0] if self._ahead else None

    def ahead(self, kind: str) -> int:
        """How many points of this kind come next."""
        for count, point in enumerate(self._ahead):
            if point.facts.kind != kind:
                return count
        return len(self._ahead)

    def take(self, kind: str) -> Point | None:
        """The next point of an earlier run, where it is of this kind."""
        if not self.ahead(kind):
            return None
        self._number += 1
        return self._ahead.pop(0)

    def keep(
        self, kind: str, then: str, details: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Keep a part that is finished. What an earlier run had beyond it counts no more."""
        self._ahead.clear()
        facts = Facts(
            kind=kind, run=self._digest, then=then, spent=self._spent(), details=dict(details)
        )
        self._points.save(self._number, kind, lambda path: _write(path, facts, tensors))
        self._number += 1


def _write(path: Path, facts: Facts, tensors: Mapping[str, Tensor]) -> None:
    """Raises OSError where there is no room, whatever the library calls it."""
    try:
        save_file(dict(tensors), path, metadata={FACTS: facts.model_dump_json()})
    except SafetensorError as error:
        raise OSError(f"{path.name} could not be written: {error}") from error


def _facts(path: Path) -> Facts | None:
    try:
        with safe_open(path, framework="pt") as file:
            return Facts.model_validate_json((file.metadata() or {})[FACTS])
    except (SafetensorError, OSError, KeyError, ValidationError):
        return None


def _named(saved: Saved) -> str:
    return f"the {saved.kind} point of {saved.origin}"
