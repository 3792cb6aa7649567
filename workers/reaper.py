"""Finds what was forgotten: jobs whose doorbell was lost, whose worker died, whose objects may go.

Every worker has one; they do not disturb each other, because each step is one transaction that
finds nothing left to do the second time.
"""

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from core import cleanup
from core.errors import SecateurError
from core.jobs.reaping import Lease
from core.jobs.states import State
from core.jobs.store import JobStore
from core.removal import finish_removals
from core.settings import Settings
from core.store.base import ObjectStore
from core.sweep_cleanup import clean_sweeps
from workers.bell import Bell

logger = logging.getLogger(__name__)


class Reaper:
    """One scan after another; what it saw in the last one tells it what has not moved."""

    def __init__(self, jobs: JobStore, store: ObjectStore, bell: Bell, settings: Settings) -> None:
        self._jobs, self._store, self._bell, self._settings = jobs, store, bell, settings
        self._suspects: dict[Lease, float] = {}
        self._clean_at = self._forget_at = -math.inf

    def recover(self, now: datetime, tick: float) -> None:
        """Look once for jobs that lost their worker or their doorbell: in the database and the broker
        only, so that a store which hangs delays no job. `tick` is a monotonic time, which no clock
        change moves."""
        self._guarded(lambda: self._take_back(now, tick))
        self._guarded(lambda: self._ring_again(now))

    def clean(self, now: datetime, tick: float) -> None:
        """Look once for what may go. Takes as long as the store does."""
        self._guarded(lambda: self._clean(now, tick))
        self._guarded(lambda: self._forget(now, tick))
        self._guarded(self._sweep)
        self._guarded(lambda: finish_removals(self._jobs, self._store, now))
        self._guarded(lambda: self._jobs.forget_keys(now))
        self._guarded(self._fold)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except SecateurError as error:
            logger.warning("%s", error)

    def _take_back(self, now: datetime, tick: float) -> None:
        """End leases that stay expired for two heartbeats.

        A worker that lives renews its lease within one. When the clock is set forward, or the
        machine wakes up from sleep, all leases look expired for a moment, and none is lost.
        """
        expired = self._jobs.expired(now)
        self._suspects = {lease: self._suspects.get(lease, tick) for lease in expired}
        patience = 2 * self._settings.heartbeat_seconds
        for lease, since in self._suspects.items():
            if tick - since < patience:
                continue
            state = self._jobs.take_back(lease, now, max_attempts=self._settings.max_attempts)
            if state is not None:
                logger.warning("%s: lease expired, now %s", lease.job_id, state)
            if state is State.QUEUED:
                self._bell.ring(lease.job_id)

    def _ring_again(self, now: datetime) -> None:
        """Ring for jobs that wait although no doorbell does.

        Where messages wait, every worker is busy, and more messages would only pile up.
        """
        since = now - timedelta(seconds=self._settings.scan_seconds)
        forgotten = self._jobs.queued_ids(since=since, quotas=self._settings.quotas)
        if forgotten and self._bell.waiting() == 0:
            for job_id in forgotten:
                self._bell.ring(job_id)

    def _sweep(self) -> None:
        """Remove the objects of runs that did not win, once their job is over."""
        cleanup.sweep(self._jobs, self._store)

    def _forget(self, now: datetime, tick: float) -> None:
        """Remove what the audit log has kept for long enough."""
        if tick < self._forget_at:
            return
        self._forget_at = tick + self._settings.gc_seconds
        before = now - timedelta(days=self._settings.audit_days)
        if forgotten := self._jobs.forget_audit(before):
            logger.info("removed %d old lines of the audit log", forgotten)

    def _fold(self) -> None:
        self._jobs.fold_tallies()

    def _clean(self, now: datetime, tick: float) -> None:
        """What `secateur gc` does, now and then, where somebody said how long results are kept."""
        retention = self._settings.retention
        if not retention.root or tick < self._clean_at:
            return
        self._clean_at = tick + self._settings.gc_seconds
        for job_id in cleanup.results_to_expire(self._jobs, retention, now):
            if self._jobs.expire(job_id, now):
                logger.info("%s: artifacts expired", job_id)
        if removed := cleanup.abort_uploads(self._jobs, self._store, now):
            logger.info("removed %d unfinished uploads", removed)
        for info in clean_sweeps(self._jobs, self._store, now, unknown=None):
            logger.info("removed %s, which its sweep needs no longer", info.key)
