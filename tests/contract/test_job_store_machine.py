"""The job store against a model of it, by operations in any order, from workers of any age.

Every claim that was ever made goes on being used: by its worker while it holds the job, and by a
stale one after that, which must hear LeaseLost and change nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from core.errors import LeaseLost, WrongState
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.reaping import Lease
from core.jobs.records import JobRecord
from core.jobs.states import NEXT, OWNED, RETRYABLE, TERMINAL, State
from core.jobs.store import JobStore
from core.jobs.views import Failure, Job
from core.progress import Progress
from tests.contract.jobs import LEASE, later, spec

ATTEMPTS = 3
FAILURE = Failure(code="text-too-short", message="Too short.", remedy="Give more text.")


@dataclass
class Expected:
    """What the store must say of one job."""

    tenant: str
    priority: int
    created: int  # the clock at its creation, which no two jobs share
    queued: int
    state: State = State.QUEUED
    attempt: int = 1
    epoch: int = 0
    until: float = 0.0
    progress: float = 0.0
    manifest: str | None = None
    swept: bool = False
    states: list[State] = field(default_factory=lambda: [State.QUEUED])
    lines: int = 1  # events so far
    seen: Job | None = None  # as the store last told it

    def move(self, then: State) -> State:
        if self.state is State.CANCELLING and then in (State.QUEUED, *TERMINAL):
            then = State.CANCELLED
        assert then in NEXT[self.state]
        self.state = then
        self.states.append(then)
        self.lines += 1
        if then in TERMINAL:
            self.swept = self.epoch == 0
        return then

    def release(self, now: int, *, counts: bool) -> State:
        if counts and self.attempt >= ATTEMPTS:
            return self.move(State.FAILED)
        then = self.move(State.QUEUED)
        if then is State.QUEUED:
            self.attempt += counts
            self.queued, self.progress = now, 0.0
        return then


Holder = tuple[str, int]


class Machine(RuleBasedStateMachine):
    jobs_made: "Bundle[str]" = Bundle("jobs_made")
    holders: "Bundle[Holder]" = Bundle("holders")
    leases: "Bundle[Lease]" = Bundle("leases")

    def __init__(self, store: JobStore) -> None:
        super().__init__()
        self.store = store
        self.expected: dict[str, Expected] = {}
        self.clock = 0

    @property
    def now(self) -> datetime:
        return later(self.clock)

    def tick(self) -> None:
        self.clock += 1

    def holds(self, holder: Holder) -> Expected | None:
        """The job, if `holder` still holds it."""
        job = self.expected.get(holder[0])
        return job if job and job.state in OWNED and job.epoch == holder[1] else None

    # What clients do.

    @rule(target=jobs_made, tenant=st.sampled_from(["a", "b"]), priority=st.integers(-1, 1))
    def create(self, tenant: str, priority: int) -> str:
        self.tick()
        job_id = self.store.create(tenant, spec(priority=priority), self.now).id
        self.expected[job_id] = Expected(tenant, priority, self.clock, self.clock)
        return job_id

    @rule(job_id=jobs_made)
    def cancel(self, job_id: str) -> None:
        job = self.expected[job_id]
        if job.state in TERMINAL:
            with pytest.raises(WrongState):
                self.store.cancel(job.tenant, job_id, self.now)
            return
        told = self.store.cancel(job.tenant, job_id, self.now).state
        if job.state is State.QUEUED:
            job.move(State.CANCELLED)
        elif job.state is State.RUNNING:
            job.move(State.CANCELLING)
        assert told is job.state

    @rule(job_id=jobs_made)
    def retry(self, job_id: str) -> None:
        self.tick()
        job = self.expected[job_id]
        if job.state not in RETRYABLE:
            with pytest.raises(WrongState):
                self.store.retry(job.tenant, job_id, self.now)
            return
        job.move(State.QUEUED)
        job.attempt, job.queued, job.progress, job.swept = 1, self.clock, 0.0, False
        assert self.store.retry(job.tenant, job_id, self.now).state is State.QUEUED

    @rule(job_id=consumes(jobs_made))
    def delete(self, job_id: str) -> None:
        """Also while a worker believes that it holds the job: it hears LeaseLost from then on."""
        job = self.expected[job_id]
        if job.state not in TERMINAL:
            with pytest.raises(WrongState):
                self.store.bury(job.tenant, job_id, self.now)
            return
        self.store.bury(job.tenant, job_id, self.now)
        del self.expected[job_id]
        assert job_id in self.store.buried()
        self.store.erase(job_id)

    # What workers do, for as long as they believe that they hold a job.

    @rule(target=holders, job_id=jobs_made)
    def claim(self, job_id: str) -> Any:
        job = self.expected[job_id]
        claim = self.store.claim(job_id, "worker", self.now, LEASE)
        assert (claim is not None) is (job.state is State.QUEUED)
        if claim is None:
            return multiple()
        job.move(State.RUNNING)
        job.epoch += 1
        job.until, job.progress = self.clock + LEASE, 0.0
        assert (claim.epoch, claim.attempt, claim.tenant) == (job.epoch, job.attempt, job.tenant)
        return job_id, claim.epoch

    @rule(holder=holders)
    def heartbeat(self, holder: Holder) -> None:
        if job := self.holds(holder):
            assert self.store.heartbeat(*holder, self.now, LEASE) is job.state
            job.until = self.clock + LEASE
        else:
            with pytest.raises(LeaseLost):
                self.store.heartbeat(*holder, self.now, LEASE)

    @rule(holder=holders, fraction=st.floats(0, 1))
    def progress(self, holder: Holder, fraction: float) -> None:
        progress = Progress("pruning", fraction, "a step")
        if job := self.holds(holder):
            assert self.store.progress(*holder, progress, self.now, None) is job.state
            job.progress = max(job.progress, fraction)
            job.lines += 1
        else:
            with pytest.raises(LeaseLost):
                self.store.progress(*holder, progress, self.now, None)

    @rule(holder=holders)
    def log(self, holder: Holder) -> None:
        if job := self.holds(holder):
            self.store.log(*holder, "a line", self.now)
            job.lines += 1
        else:
            with pytest.raises(LeaseLost):
                self.store.log(*holder, "a line", self.now)

    @rule(holder=holders)
    def succeed(self, holder: Holder) -> None:
        key = f"jobs/{holder[0]}/{holder[1]}/manifest.json"
        if job := self.holds(holder):
            told = self.store.succeed(*holder, key, self.now)
            assert told is job.move(State.SUCCEEDED)
            if told is State.SUCCEEDED:
                job.manifest, job.progress = key, 1.0
        elif (
            held := self.expected.get(holder[0])
        ) and held.manifest == key:  # its answer was lost, and it asks again
            assert self.store.succeed(*holder, key, self.now) is State.SUCCEEDED
        else:
            with pytest.raises(LeaseLost):
                self.store.succeed(*holder, key, self.now)

    @rule(holder=holders)
    def fail(self, holder: Holder) -> None:
        if job := self.holds(holder):
            assert self.store.fail(*holder, FAILURE, self.now) is job.move(State.FAILED)
        else:
            with pytest.raises(LeaseLost):
                self.store.fail(*holder, FAILURE, self.now)

    @rule(holder=holders, counts=st.booleans())
    def release(self, holder: Holder, counts: bool) -> None:
        def release() -> State:
            if counts:
                return self.store.requeue(*holder, "it died", self.now, max_attempts=ATTEMPTS)
            return self.store.give_back(*holder, "it leaves", self.now)

        self.tick()
        if job := self.holds(holder):
            assert release() is job.release(self.clock, counts=counts)
        else:
            with pytest.raises(LeaseLost):
                release()

    # What the reaper does, at any pace.

    @rule(seconds=st.sampled_from([1, int(LEASE) - 1, int(LEASE) + 1]))
    def time_passes(self, seconds: int) -> None:
        self.clock += seconds

    @precondition(lambda self: self.expected)
    @rule(target=leases)
    def find_expired(self) -> Any:
        found = self.store.expired(self.now)
        lost = {i for i, j in self.expected.items() if j.state in OWNED and j.until < self.clock}
        assert {lease.job_id for lease in found} == lost
        return multiple(*found)

    @rule(lease=consumes(leases))
    def take_back(self, lease: Lease) -> None:
        """Some time after it was found; its worker may have renewed it, or somebody been faster."""
        self.tick()
        job = self.holds((lease.job_id, lease.epoch))
        told = self.store.take_back(lease, self.now, max_attempts=ATTEMPTS)
        same = job and later(job.until) == lease.until
        assert told is (job.release(self.clock, counts=True) if job and same else None)

    @rule()
    def sweep(self) -> None:
        found = self.store.unswept()
        over = {i for i, j in self.expected.items() if j.state in TERMINAL and not j.swept}
        assert {ended.job_id for ended in found} == over
        for ended in found:
            job = self.expected[ended.job_id]
            assert (ended.epoch, ended.manifest_key) == (job.epoch, job.manifest)
            self.store.swept(ended)
            job.swept = True

    # What must be so at any time.

    @invariant()
    def every_job_is_as_expected(self) -> None:
        for job_id, job in self.expected.items():
            found = self.store.get(job.tenant, job_id)
            assert (found.state, found.attempt, found.epoch) == (job.state, job.attempt, job.epoch)
            assert found.progress == job.progress
            assert (found.finished_at is not None) is (job.state in TERMINAL)
            assert (found.error is not None) is (job.state is State.FAILED)
            assert self.store.manifest_key(job.tenant, job_id) == job.manifest
            self.its_runs_are_told(job, found)
            # Whoever polls with the last version hears of every change.
            if job.seen and job.seen != found:
                assert found.version > job.seen.version
            job.seen = found

    @staticmethod
    def its_runs_are_told(job: Expected, found: Job) -> None:
        assert found.attempts is not None
        assert [run.epoch for run in found.attempts] == list(range(1, job.epoch + 1))
        still = [run.epoch for run in found.attempts if run.ended_at is None]
        assert still == ([job.epoch] if job.state in OWNED else [])

    @invariant()
    def no_event_is_lost(self) -> None:
        for job_id, job in self.expected.items():
            events = self.store.events(job.tenant, job_id, limit=1000).data
            assert [event.id for event in events] == list(range(1, job.lines + 1))
            assert [e.data["state"] for e in events if e.type == "state"] == job.states
            assert (events[-1].data.get("state") in TERMINAL) is (job.state in TERMINAL)

    @invariant()
    def each_tenant_sees_its_own(self) -> None:
        for tenant in ("a", "b"):
            own = [i for i, job in self.expected.items() if job.tenant == tenant]
            assert [job.id for job in self.store.list(tenant).data] == own[: -51 or None : -1]

    @invariant()
    def what_waits_is_found_waiting(self) -> None:
        waiting = {i for i, job in self.expected.items() if job.state is State.QUEUED}
        assert set(self.store.queued_ids()) == waiting


def _emptied(url: str) -> JobStore:
    database = Database(url)
    with database.write() as session:
        session.execute(delete(JobRecord))
    return JobStore(database)


def test_operations_in_any_order(database_url: str) -> None:
    migrate(database_url)
    opened: list[JobStore] = []

    def fresh() -> Machine:
        opened.append(_emptied(database_url))
        return Machine(opened[-1])

    run_state_machine_as_test(
        fresh,  # type: ignore[arg-type]
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for store in opened:
        store.close()
