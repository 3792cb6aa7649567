"""Steps within phases as one fraction that only grows, and the time that each phase took."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from core.progress import Forecast, Phase, Progress, Report


class Phases:
    """What a run is doing, told to `report`, which may raise Cancelled to end it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun, self._share = 0.0, 0.0
        self.reached = 0.0
        """Of the whole; who goes on with another's work sets it to where that was."""
        self._phase: Phase = "fetching"
        self._message = ""
        self._since: float | None = None
        self.seconds: dict[str, float] = {}
        self.scale = 1.0
        """What the shares of phases to come are multiplied by, where they are only a part of the whole."""

    @contextmanager
    def phase(self, name: Phase, share: float, message: str) -> Iterator[None]:
        """A part of the work that takes about `share` of the whole; a phase may have several."""
        share *= self.scale
        self._phase, self._share, self._message = name, share, message
        self.reached = max(self.reached, self._begun)
        self._report(Progress(name, self.reached, message))
        self._since = monotonic()
        yield
        self.seconds, self._since = self.spent(), None
        self._begun += share

    def spent(self) -> dict[str, float]:
        """Seconds by phase, of the one that runs up to now."""
        if self._since is None:
            return dict(self.seconds)
        so_far = self.seconds.get(self._phase, 0.0) + monotonic() - self._since
        return self.seconds | {self._phase: so_far}

    def carry(self, seconds: Mapping[str, float]) -> None:
        """Count what an earlier run took, whose work this one goes on with."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def step(self, done: int, of: int) -> None:
        self._told(done / of, f"{done}/{of}")

    def received(self, done: int, of: int) -> None:
        """As `step`, for bytes."""
        self._told(done / of, f"{done / 1e6:.1f} of {of / 1e6:.1f} MB")

    def planned(self, forecast: Forecast) -> None:
        """Tell what the rest will take."""
        self._report(Progress(self._phase, self.reached, self._message, forecast))

    def _told(self, part: float, words: str) -> None:
        # A phase may count several things one after the other: model and text, for one.
        self.reached = max(self.reached, min(self._begun + self._share * part, 1.0))
        self._report(Progress(self._phase, self.reached, f"{self._message} ({words})"))

    def finish(self) -> None:
        self._report(Progress(self._phase, 1.0, "done"))
