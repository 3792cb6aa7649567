"""Carries one job out: claims it, starts its runner, keeps its lease, and writes how it ended.

The row in the database is the truth. A supervisor that finds it taken (LeaseLost) kills its
runner; what that has stored goes when the job is over, and nothing else needs to be undone.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.errors import LeaseLost, StoreError, StoreUnavailable
from core.jobs.leases import Claim
from core.jobs.objects import objects_of
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.settings import Settings
from core.store.base import ObjectStore
from workers import scratch
from workers.child import Child
from workers.protocol import Done, Failed, Request, Result, is_complete, out_of
from workers.tracking import target_for
from workers.watch import Watch

logger = logging.getLogger(__name__)

DEFAULT_ENTRY = "workers.engine:execute"
ENTRY_VARIABLE = "SECATEUR_RUNNER_ENTRY"
"""For tests of the life of jobs: names another function for the runner to call."""

_CANDIDATES = 16  # queued jobs to try when other workers claim at the same moment
_MORE_RUNNERS = 2  # in one attempt; they only store what the first one made
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What a worker needs to carry out jobs, one at a time."""

    jobs: JobStore
    store: ObjectStore
    store_url: str
    settings: Settings
    worker: str
    now: Callable[[], datetime]
    stopping: Callable[[], bool]
    """Whether this worker has been asked to leave."""
    ring: Callable[[str], None]
    """Calls some worker to a job that waits again."""

    def look_at(self, job_id: str) -> None:
        """Answer a doorbell: carry out the job that is to run next, if one still waits.

        That need not be `job_id`: doorbells come in the order of posting, jobs run in the order
        of their priorities. A doorbell that comes twice, or too late, finds nothing to do.
        """
        claim = None if self.stopping() else self._claim()
        if claim is None:
            logger.info("%s: nothing to do", job_id)
            return
        logger.info("%s: attempt %d, epoch %d", claim.job_id, claim.attempt, claim.epoch)
        try:
            state = self._answer_for(claim)
        except LeaseLost:
            logger.warning("%s: epoch %d was taken back", claim.job_id, claim.epoch)
            self._remove_objects(claim)
            return
        logger.info("%s: %s", claim.job_id, state)
        if state is State.QUEUED:
            self.ring(claim.job_id)

    def _claim(self) -> Claim | None:
        lease = self.settings.lease_seconds
        for job_id in self.jobs.queued_ids(limit=_CANDIDATES):
            if claim := self.jobs.claim(job_id, self.worker, self.now(), lease):
                return claim
        return None

    def _answer_for(self, claim: Claim) -> State:
        """Run the job to the end of this attempt and write how it ended. Raises LeaseLost."""
        try:
            result, death = self._run(claim)
        except OSError as error:  # no room for the scratch folder, no process to be had
            result, death = None, f"the run could not be started: {error}"
        if isinstance(result, Done):
            return self._insist(lambda: self._succeed(claim, result))
        if isinstance(result, Failed):
            return self._insist(lambda: self._fail(claim, result))
        if self.stopping():
            return self._insist(lambda: self._give_back(claim))
        return self._insist(lambda: self._requeue(claim, death))

    def _run(self, claim: Claim) -> tuple[Result | None, str]:
        """The runner's last word, and how it died where that is all there is to say.

        One that dies with its result complete is followed by another, which only stores it.
        """
        base = scratch.base(self.settings.work_dir)
        with scratch.scratch(base, f"{claim.job_id}-{claim.epoch}-{os.getpid()}") as folder:
            result, death = self._run_once(claim, folder)
            for _ in range(_MORE_RUNNERS):
                if result or not is_complete(out_of(folder)) or not self._may_go_on(claim, death):
                    break
                result, death = self._run_once(claim, folder)
        return result, death

    def _run_once(self, claim: Claim, folder: Path) -> tuple[Result | None, str]:
        child = Child(self._request(claim, folder))
        try:
            watch = Watch(claim, child, self.jobs, self.settings, self.now, self.stopping)
            result = watch.until_end()
        finally:
            child.close()
        if not isinstance(result, Done) and child.last_words:
            logger.warning("%s: last words:\n%s", claim.job_id, "\n".join(child.last_words))
        return result, _death(child)

    def _may_go_on(self, claim: Claim, death: str) -> bool:
        """Whether the job still wants its result; says in its history why it takes longer.

        Raises:
            LeaseLost: the job was taken back.
        """
        told = f"{death}; its result is complete and goes on its way into the store"
        logger.warning("%s: %s", claim.job_id, told)
        try:
            if self.jobs.held_state(claim.job_id, claim.epoch) is State.RUNNING:
                self.jobs.log(claim.job_id, claim.epoch, told, self.now(), level="warning")
                return not self.stopping()
        except StoreUnavailable as error:
            logger.warning("%s: %s", claim.job_id, error)
            return not self.stopping()
        return False

    def _request(self, claim: Claim, folder: Path) -> Request:
        settings = self.settings
        return Request(
            job_id=claim.job_id,
            epoch=claim.epoch,
            attempt=claim.attempt,
            spec=claim.spec,
            supervisor=os.getpid(),
            entry=os.environ.get(ENTRY_VARIABLE) or DEFAULT_ENTRY,
            store_url=self.store_url,
            scratch=folder,
            device=settings.device,
            threads=settings.threads,
            memory_budget=settings.memory_budget,
            model_roots=settings.model_roots,
            source_buckets=settings.source_buckets,
            push_destinations=settings.push_destinations,
            hub_cache=settings.hub_cache,
            store_patience=settings.store_patience_seconds,
            mlflow=target_for(settings, self.store_url, objects_of(claim.job_id, claim.epoch)),
        )

    def _fail(self, claim: Claim, result: Failed) -> State:
        failure = Failure(code=result.code, message=result.message, remedy=result.remedy)
        return self.jobs.fail(claim.job_id, claim.epoch, failure, self.now())

    def _succeed(self, claim: Claim, result: Done) -> State:
        return self.jobs.succeed(claim.job_id, claim.epoch, result.manifest_key, self.now())

    def _give_back(self, claim: Claim) -> State:
        reason = f"worker {self.worker} shuts down"
        return self.jobs.give_back(claim.job_id, claim.epoch, reason, self.now())

    def _requeue(self, claim: Claim, reason: str) -> State:
        logger.warning("%s: %s", claim.job_id, reason)
        return self.jobs.requeue(
            claim.job_id,
            claim.epoch,
            reason,
            self.now(),
            max_attempts=self.settings.max_attempts,
        )

    def _insist(self, write: Callable[[], State]) -> State:
        """Write how the job ended, however long the database is away: the epoch guards the row.

        Raises:
            LeaseLost: the job was taken back.
            StoreUnavailable: the database is away and this worker has to leave.
        """
        while True:
            try:
                return write()
            except StoreUnavailable as error:
                if self.stopping():
                    raise
                logger.warning("trying again in %g s: %s", _RETRY_SECONDS, error)
                time.sleep(_RETRY_SECONDS)

    def _remove_objects(self, claim: Claim) -> None:
        """What a run stored that will never be named, once nobody can go on from it.

        While the job is not over, that may be another worker at this moment; the reaper removes
        everything at the job's end.
        """
        try:
            standing = self.jobs.standings([claim.job_id]).get(claim.job_id)
            if standing is None or standing.ended:
                self.store.delete_prefix(objects_of(claim.job_id, claim.epoch))
        except StoreError as error:
            logger.warning("%s: %s", claim.job_id, error)


def _death(child: Child) -> str:
    """Why a runner ended without a result, in one line."""
    status = child.status or 0
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        cause = ", as the kernel does when memory runs out" if status == -signal.SIGKILL else ""
        return f"the run's process was killed by {name}{cause}"
    last = f": {child.last_words[-1][:300]}" if child.last_words else ""
    return f"the run's process ended with status {status} and no result{last}"
