"""How long a run may go on: in one phase, and without a word."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from core.progress import Phase

MOST_SECONDS: Final = 5.0
"""Time that passes, at most, between two looks. The watch looks twice a second: a longer gap is a
worker that was stopped, a machine that slept, or a database that kept the worker waiting, and none
of these is the run's."""


@dataclass(frozen=True, slots=True)
class Overrun:
    """A limit that a run has come to."""

    kind: Literal["phase", "silence"]
    phase: Phase | None
    limit: float


class Limits:
    """Counts the time that a run had, which is not what a clock says. `tick` is monotonic."""

    def __init__(self, by_phase: Mapping[Phase, float], silence: float, tick: float) -> None:
        self._by_phase, self._silence = by_phase, silence
        self._phase: Phase | None = None
        self._looked, self._in_phase, self._quiet = tick, 0.0, 0.0

    def heard(self, phase: Phase | None = None) -> None:
        """The run has said something; with `phase`, in which one it is."""
        self._quiet = 0.0
        if phase is not None and phase != self._phase:
            self._phase, self._in_phase = phase, 0.0

    def look(self, tick: float) -> Overrun | None:
        """The limit that has been come to, if any."""
        passed = min(max(tick - self._looked, 0.0), MOST_SECONDS)
        self._looked = tick
        self._in_phase += passed
        self._quiet += passed
        limit = self._by_phase.get(self._phase) if self._phase else None
        if limit is not None and self._in_phase >= limit:
            return Overrun("phase", self._phase, limit)
        if self._quiet >= self._silence:
            return Overrun("silence", self._phase, self._silence)
        return None
