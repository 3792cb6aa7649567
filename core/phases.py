"""Steps within phases as one fraction that only grows, and the time that each phase took."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from core.progress import Forecast, Phase, Progress, Report


class Phases:
    """What a run is doing, told to `report`, which may raise Cancelled to end it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun, self._share, self._reached = 0.0, 0.0, 0.0
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
        self._told(done / of, f"{done}/{of}")

    def received(self, done: int, of: int) -> None:
        """As `step`, for bytes."""
        self._told(done / of, f"{done / 1e6:.1f} of {of / 1e6:.1f} MB")

    def planned(self, forecast: Forecast) -> None:
        """Tell what the rest will take."""
        self._report(Progress(self._phase, self._reached, self._message, forecast))

    def _told(self, part: float, words: str) -> None:
        # A phase may count several things one after the other: model and text, for one.
        self._reached = max(self._reached, min(self._begun + self._share * part, 1.0))
        self._report(Progress(self._phase, self._reached, f"{self._message} ({words})"))

    def finish(self) -> None:
        self._report(Progress(self._phase, 1.0, "done"))
