"""Steps within phases as one fraction that only grows, and the time that each phase took."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from core.progress import Phase, Progress, Report


class Phases:
    """What a run is doing, told to `report`, which may raise Cancelled to end it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun, self._share = 0.0, 0.0
        self._phase: Phase = "fetching"
        self._message = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: Phase, share: float, message: str) -> Iterator[None]:
        """A part of the work that takes about `share` of the whole; a phase may have several."""
        self._phase, self._share, self._message = name, share, message
        self._report(Progress(name, self._begun, message))
        began = monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - began
        self._begun += share

    def step(self, done: int, of: int) -> None:
        fraction = self._begun + self._share * done / of
        self._report(Progress(self._phase, min(fraction, 1.0), f"{self._message} ({done}/{of})"))

    def finish(self) -> None:
        self._report(Progress(self._phase, 1.0, "done"))
