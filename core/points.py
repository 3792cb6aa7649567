"""Finished parts of a run, kept where a later one can go on from them. Free of torch and of stores.

A run keeps its points in one order, and a later one takes up as many of the first as are intact.
Each is a file; who keeps them need not know what is in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Level = Literal["info", "warning"]


@dataclass(frozen=True, slots=True)
class Saved:
    """A point of an earlier run, whose bytes are what that run wrote."""

    kind: str
    origin: str
    """Who made it, in words: `attempt 1`."""
    path: Path


class Points(Protocol):
    """Where one run keeps its points, and finds those of the runs before it."""

    def open(self, run: Mapping[str, str], look: Callable[[int, int], None]) -> list[Saved]:
        """The points of an earlier run to go on from, in order, each held against its SHA-256.

        `run` is all that the bytes of a point depend on: points of a run that differs in it are none
        of ours. `look` is told of points done, and may raise Cancelled. What cannot be used is told
        of and otherwise as if it had never been.
        """

    def save(self, number: int, kind: str, write: Callable[[Path], object]) -> None:
        """Keep the point that follows the first `number`, of which `open` may have found some.

        `write` fills a file, at once or not at all. No failure to keep it is an error of the run.
        """

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, str] | None = None
    ) -> None:
        """A line for the history of the run."""


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first thing in which two runs differ, in words; empty where they are equal."""
    for name in sorted(there.keys() | here.keys()):
        one, other = (run.get(name, "unknown") for run in (there, here))
        if one != other:
            return f"{name} was {one} and is {other}"
    return ""


class NoPoints:
    """`Points` of a run that is not to be taken up again."""

    def open(self, run: Mapping[str, str], look: Callable[[int, int], None]) -> list[Saved]:  # noqa: ARG002 - the protocol's
        return []

    def save(self, number: int, kind: str, write: Callable[[Path], object]) -> None:
        """Nothing is written."""

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, str] | None = None
    ) -> None:
        """Nobody listens."""


NO_POINTS = NoPoints()
