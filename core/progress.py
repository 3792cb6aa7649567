"""How a long run tells what it is doing, and learns that it should stop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["fetching", "analysing", "pruning", "evaluating", "publishing"]
PHASES: tuple[Phase, ...] = ("fetching", "analysing", "pruning", "evaluating", "publishing")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take, by its plan. Bytes are of the whole process, or of its device."""

    peak_bytes: int
    budget_bytes: int
    least_bytes: int
    """What the smallest plan would take, one sequence at a time: no smaller budget will do."""
    group: int
    """Sequences in one forward."""
    flops: float
    seconds: float | None
    """Of the whole run, from a timed forward."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A run's position. `fraction` is of the whole job, 0…1, and never decreases."""

    phase: Phase
    fraction: float
    message: str
    forecast: Forecast | None = None
    """Told once, when the run has made its plan."""


Report = Callable[[Progress], None]
"""Called with each step; may raise `core.errors.Cancelled` to end the run."""


def ignore(progress: Progress) -> None:
    """A `Report` for callers that do not watch."""


Finished = Callable[[str, Path], None]
"""Called with the name of an output file, relative to the output folder, and where it lies for now,
as soon as nothing will be written to it any more."""


def keep_quiet(name: str, path: Path) -> None:
    """A `Finished` for callers that wait for the whole folder."""
