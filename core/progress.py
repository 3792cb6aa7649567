"""How a long run tells what it is doing, and learns that it should stop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["fetching", "analysing", "pruning", "evaluating", "publishing"]
PHASES: tuple[Phase, ...] = ("fetching", "analysing", "pruning", "evaluating", "publishing")


@dataclass(frozen=True, slots=True)
class Progress:
    """A run's position. `fraction` is of the whole job, 0…1, and never decreases."""

    phase: Phase
    fraction: float
    message: str


Report = Callable[[Progress], None]
"""Called with each step; may raise `core.errors.Cancelled` to end the run."""


def ignore(progress: Progress) -> None:
    """A `Report` for callers that do not watch."""
