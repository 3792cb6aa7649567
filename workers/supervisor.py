"""Carries one job out: claims it, starts its runner, keeps its lease, and writes how it ended.

The row in the database is the truth. A supervisor that finds it taken (LeaseLost) kills its
runner; what that has stored goes when the job is over, and nothing else needs to be undone.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from core import redaction
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
from workers.endings import Again, Ending, judge
from workers.memory import OomKills
from workers.observing import Onlooker, Telemetry, bound_to
from workers.protocol import Done, Request, is_complete, out_of
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
    kernel: OomKills = field(default_factory=OomKills)
    """Tells whether a run was killed because memory ran out."""
    telemetry: Telemetry = field(default_factory=Telemetry.off)

    def look_at(self, job_id: str) -> None:
        """Answer a doorbell: carry out the job that is to run next, if one still waits.

        That need not be `job_id`: doorbells come in the order of posting, jobs run in the order
        of their priorities. A doorbell that comes twice, or too late, finds nothing to do.
        """
        claim = None if self.stopping() else self._claim()
        if claim is None:
            logger.info("%s: nothing to do", job_id)
            return
        with bound_to(claim):
            self._carry_out(claim, Onlooker(self.telemetry, claim))

    def _carry_out(self, claim: Claim, onlooker: Onlooker) -> None:
        logger.info("%s: attempt %d, epoch %d", claim.job_id, claim.attempt, claim.epoch)
        state = None
        try:
            state = self._answer_for(claim, onlooker)
        except LeaseLost:
            logger.warning("%s: epoch %d was taken back", claim.job_id, claim.epoch)
            self._remove_objects(claim)
            return
        finally:
            onlooker.close(state)
        logger.info("%s: %s", claim.job_id, state)
        if state is State.QUEUED:
            self.ring(claim.job_id)
        else:
            self._ring_for_the_next_of(claim.tenant)

    def _ring_for_the_next_of(self, tenant: str) -> None:
        """Call a worker to a job that had to wait for this one; a call that fails the reaper repeats."""
        try:
            waiting = self.jobs.passed_over(tenant, self.settings.quotas)
        except StoreUnavailable as error:
            logger.warning("%s", error)
            return
        if waiting is not None:
            self.ring(waiting)

    def _claim(self) -> Claim | None:
        lease = self.settings.lease_seconds
        quotas = self.settings.quotas
        for job_id in self.jobs.queued_ids(limit=_CANDIDATES, quotas=quotas):
            if claim := self.jobs.claim(job_id, self.worker, self.now(), lease, quotas=quotas):
                return claim
        return None

    def _answer_for(self, claim: Claim, onlooker: Onlooker) -> State:
        """Run the job to the end of this attempt and write how it ended. Raises LeaseLost."""
        try:
            ending = self._run(claim, onlooker)
        except OSError as error:  # no room for the scratch folder, no process to be had
            ending = Ending(None, f"the run could not be started: {error}")
        self._account(claim, onlooker)
        result = ending.result
        if isinstance(result, Done):
            return self._insist(lambda: self._succeed(claim, result))
        verdict = judge(ending)
        if isinstance(verdict, Failure):
            return self._insist(
                lambda: self.jobs.fail(claim.job_id, claim.epoch, verdict, self.now())
            )
        if self.stopping():
            return self._insist(lambda: self._give_back(claim))
        return self._insist(lambda: self._requeue(claim, verdict))

    def _account(self, claim: Claim, onlooker: Onlooker) -> None:
        """What the attempt took, for the history and for metrics; nobody waits for it.

        Raises:
            LeaseLost: the job was taken back.
        """
        try:
            self.jobs.spent(
                claim.job_id, claim.epoch, onlooker.seconds(), onlooker.held(), self.now()
            )
        except StoreUnavailable as error:
            logger.warning("%s: what it took could not be written: %s", claim.job_id, error)

    def _run(self, claim: Claim, onlooker: Onlooker) -> Ending:
        """How the run ended. A runner that dies with its result complete is followed by another,
        which only stores it.
        """
        base = scratch.base(self.settings.work_dir)
        with scratch.scratch(base, f"{claim.job_id}-{claim.epoch}-{os.getpid()}") as folder:
            ending = self._run_once(claim, folder, onlooker)
            for _ in range(_MORE_RUNNERS):
                if ending.result or ending.overrun or not is_complete(out_of(folder)):
                    break
                if not self._may_go_on(claim, ending.death):
                    break
                ending = self._run_once(claim, folder, onlooker)
        return ending

    def _run_once(self, claim: Claim, folder: Path, onlooker: Onlooker) -> Ending:
        kills = self.kernel.count()
        onlooker.begins()
        request, result = self._request(claim, folder, onlooker.traceparent), None
        child = Child(request, self.settings.runner_variables)
        try:
            watch = Watch(claim, child, self.jobs, self.settings, self.now, self.stopping)
            result = watch.until_end(onlooker.heard)
        finally:
            child.close()
            onlooker.ended(result, _death(child))
        killed = child.status == -signal.SIGKILL and not child.was_killed
        return Ending(
            result,
            _death(child),
            log=redaction.shown(child.last_words, self._secrets()),
            forecast=watch.forecast,
            reached=watch.reached,
            overrun=watch.overrun,
            killed_for_memory=killed and (self.kernel.count() or 0) > (kills or 0),
            held=watch.held,
        )

    def _secrets(self) -> tuple[str, ...]:
        settings = self.settings
        urls = (settings.database_url, settings.broker_url, self.store_url)
        return redaction.secrets_of(os.environ, (*urls, settings.mlflow_tracking_uri))

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

    def _request(self, claim: Claim, folder: Path, traceparent: str | None) -> Request:
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
            memory_budget=_least(settings.memory_budget, claim.memory_budget),
            model_roots=settings.model_roots,
            source_buckets=settings.source_buckets,
            hub_models=settings.hub_models,
            max_model_bytes=settings.max_model_bytes,
            push_destinations=settings.push_destinations,
            hub_cache=settings.hub_cache,
            store_patience=settings.store_patience_seconds,
            mlflow=target_for(settings, self.store_url, objects_of(claim.job_id, claim.epoch)),
            log_level=settings.log_level,
            traceparent=traceparent,
            sweep_id=claim.sweep_id,
        )

    def _succeed(self, claim: Claim, result: Done) -> State:
        return self.jobs.succeed(
            claim.job_id,
            claim.epoch,
            result.manifest_key,
            self.now(),
            stored_bytes=result.stored_bytes,
        )

    def _give_back(self, claim: Claim) -> State:
        reason = f"worker {self.worker} shuts down"
        return self.jobs.give_back(claim.job_id, claim.epoch, reason, self.now())

    def _requeue(self, claim: Claim, again: Again) -> State:
        logger.warning("%s: %s", claim.job_id, again.reason)
        return self.jobs.requeue(
            claim.job_id,
            claim.epoch,
            again.reason,
            self.now(),
            max_attempts=self.settings.max_attempts,
            outcome=again.outcome,
            code=again.code,
            remedy=again.remedy,
            log=again.log,
            memory_budget=again.memory_budget,
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


def _least(*given: int | None) -> int | None:
    return min((each for each in given if each is not None), default=None)


def _death(child: Child) -> str:
    """Why a runner ended without a result, in one line."""
    status = child.status or 0
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        return f"the run's process was killed by {name}"
    last = f": {child.last_words[-1][:300]}" if child.last_words else ""
    return f"the run's process ended with status {status} and no result{last}"
