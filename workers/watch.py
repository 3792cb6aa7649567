"""Beside a running child: renews the lease, passes progress on, and makes it stop when it must."""

import logging
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from core.errors import StoreUnavailable
from core.jobs.leases import Claim
from core.jobs.states import State
from core.jobs.store import JobStore
from core.progress import Forecast, Progress
from core.settings import Settings
from workers.child import Child
from workers.limits import Limits, Overrun
from workers.memory import Held
from workers.protocol import Measured, Moved, Planned, Remark, Result, Said

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # between two progress events of one phase
LOOK_SECONDS = 1.0  # how long a cancellation may stay unseen
LEAVE_SECONDS = 5.0  # grace of a run whose worker has been asked to leave
_TICK_SECONDS = 0.5  # how long a worker's own shutdown may stay unseen
_ETA_FROM = 0.02  # of the whole; a guess from less would be wild


def _unheard(_: Said) -> None:
    """For those who only want to know how it ends."""


class Watch:
    """One claim and its child, from the start to the child's end."""

    def __init__(
        self,
        claim: Claim,
        child: Child,
        jobs: JobStore,
        settings: Settings,
        now: Callable[[], datetime],
        stopping: Callable[[], bool],
    ) -> None:
        self._claim, self._child, self._jobs, self._settings = claim, child, jobs, settings
        self._now, self._stopping = now, stopping
        self._began, self._base = monotonic(), 0.0
        self._continued = False
        self._beat_at = self._began + settings.heartbeat_seconds
        self._look_at = self._began + LOOK_SECONDS
        self._tell_at = self._began
        self._kill_at: float | None = None
        self._pending: Moved | None = None
        self._told: Moved | None = None
        self._result: Result | None = None
        self._limits = Limits(settings.phase_timeouts.root, settings.stall_seconds, self._began)
        self.overrun: Overrun | None = None
        """The limit at which the child was asked to stop."""
        self.forecast: Forecast | None = None
        self.reached: Progress | None = None
        self.held: Held | None = None

    def until_end(self, heard: Callable[[Said], None] = _unheard) -> Result | None:
        """What the child said at its end, if anything; `heard` is told of all that it says.

        Raises:
            LeaseLost: the job belongs to another worker now; the child may still run.
        """
        while self._child.status is None:
            for line in self._child.read(self._pause()):
                heard(line)
                self._take(line)
            self._flush(monotonic())
            self._keep_lease(monotonic())
            self._limit(monotonic())
            self._enforce(monotonic())
        self._child.kill()  # what it started and left behind
        for line in self._child.drain():
            heard(line)
            self._take(line)
        return self._result

    def _pause(self) -> float:
        due = [self._beat_at, self._look_at]
        due += [self._tell_at] if self._pending else []
        due += [self._kill_at] if self._kill_at else []
        return min(max(min(due) - monotonic(), 0.0), _TICK_SECONDS)

    def _take(self, line: Said) -> None:
        self._limits.heard(line.phase if isinstance(line, Moved) else None)
        if isinstance(line, Remark):
            if self._pending:  # it was said before, and the history tells so
                self._tell(self._pending)
            self._remark(line)
            return
        if isinstance(line, Planned):
            self._plan(line.forecast)
            return
        if isinstance(line, Measured):
            return
        if not isinstance(line, Moved):
            self._result = line
            return
        self.reached = Progress(line.phase, line.fraction, line.message)
        if self._told is None or line.phase != self._told.phase:
            if self._pending:  # the last word of the phase before
                self._tell(self._pending)
            self._tell(line)
        elif line != self._told:
            self._pending = line

    def _flush(self, tick: float) -> None:
        if self._pending and tick >= self._tell_at:
            self._tell(self._pending)

    def _tell(self, moved: Moved) -> None:
        self._told, self._pending = moved, None
        if self._continued:  # what another attempt did tells nothing of how fast this one is
            self._began, self._base, self._continued = monotonic(), moved.fraction, False
        self._tell_at = monotonic() + PROGRESS_SECONDS
        progress = Progress(moved.phase, moved.fraction, moved.message)
        eta = self._eta(moved.fraction)
        self._ask(
            lambda: self._jobs.progress(
                self._claim.job_id, self._claim.epoch, progress, self._now(), eta
            )
        )

    def _plan(self, forecast: Forecast) -> None:
        self.forecast = forecast
        job_id, epoch = self._claim.job_id, self._claim.epoch
        self._ask(lambda: self._jobs.planned(job_id, epoch, forecast, self._now()))

    def _remark(self, line: Remark) -> None:
        job_id, epoch = self._claim.job_id, self._claim.epoch
        self._continued = self._continued or "continued" in line.data
        try:
            self._jobs.log(
                job_id, epoch, line.message, self._now(), level=line.level, data=line.data
            )
        except StoreUnavailable as error:
            logger.warning("%s: %s; could not be written: %s", job_id, line.message, error)

    def _eta(self, fraction: float) -> float | None:
        done = fraction - self._base
        if done < _ETA_FROM:
            return None
        return round((monotonic() - self._began) * (1 - fraction) / done, 1)

    def _keep_lease(self, tick: float) -> None:
        job_id, epoch = self._claim.job_id, self._claim.epoch
        if tick >= self._beat_at:
            self._beat_at = tick + self._settings.heartbeat_seconds
            lease = self._settings.lease_seconds
            self._ask(lambda: self._jobs.heartbeat(job_id, epoch, self._now(), lease))
        elif tick >= self._look_at:
            self._look_at = tick + LOOK_SECONDS
            self._ask(lambda: self._jobs.held_state(job_id, epoch))

    def _ask(self, question: Callable[[], State]) -> None:
        """Write or read the row, whose state tells whether to go on.

        A database that is away for a while costs no run: only its answer that the lease is lost
        does, and until then the epoch keeps two runs apart.
        """
        self.held = self._child.held() or self.held
        try:
            state = question()
        except StoreUnavailable as error:
            logger.warning("%s: %s", self._claim.job_id, error)
            return
        self._look_at = monotonic() + LOOK_SECONDS
        if state is State.CANCELLING:
            self._stop(self._settings.cancel_grace_seconds)

    def _limit(self, tick: float) -> None:
        """End a run that takes too long. Once it has been asked to stop, its grace is its limit."""
        over = self._limits.look(tick)
        if over is not None and self._kill_at is None:
            self.overrun = over
            self._stop(self._settings.cancel_grace_seconds)

    def _enforce(self, tick: float) -> None:
        if self._stopping():
            self._stop(min(self._settings.cancel_grace_seconds, LEAVE_SECONDS))
        if self._kill_at is not None and tick >= self._kill_at:
            self._child.kill()
            self._kill_at = tick + LOOK_SECONDS  # a process may take its time to die

    def _stop(self, grace: float) -> None:
        """Ask the child to stop, once; a second reason may only shorten its grace."""
        kill_at = monotonic() + grace
        if self._kill_at is None:
            self._child.terminate()
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)
