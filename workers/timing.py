"""How long each phase of a run took, as its supervisor hears of them. Knows no clock."""

from dataclasses import dataclass, field
from typing import Final

STARTING: Final = "starting"
"""Before the first word of a runner: libraries are loaded, a device is woken."""


@dataclass(frozen=True, slots=True)
class Span:
    """A phase from its first word to the first word of another; times as the caller has them."""

    phase: str
    began: float
    ended: float


@dataclass(slots=True)
class Timing:
    """Told of each phase when it is heard of, and of the end; a phase may come more than once."""

    began: float
    spans: list[Span] = field(default_factory=list)
    _phase: str = STARTING

    def heard(self, phase: str, at: float) -> None:
        if phase != self._phase:
            self._close(at)
            self._phase = phase

    def ended(self, at: float) -> None:
        """The runner is gone; another one may begin."""
        self._close(at)
        self._phase = STARTING

    def seconds(self) -> dict[str, float]:
        """Each phase's time, in the order in which they were first heard of."""
        total: dict[str, float] = {}
        for span in self.spans:
            total[span.phase] = total.get(span.phase, 0.0) + span.ended - span.began
        return total

    def _close(self, at: float) -> None:
        at = max(at, self.began)  # a clock that is set back makes no phase shorter than nothing
        self.spans.append(Span(self._phase, self.began, at))
        self.began = at
