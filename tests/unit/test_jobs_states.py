"""The state table, and a store that is driven at random against it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LeaseLost, WrongState
from core.jobs.migrate import migrate
from core.jobs.states import NEXT, OWNED, RETRYABLE, TERMINAL, State, check_move, sources_of
from core.jobs.store import JobStore
from core.jobs.views import Failure, Job
from core.progress import Progress
from core.spec import parse_spec

START = datetime(2026, 1, 1, tzinfo=UTC)


@given(now=st.sampled_from(State), then=st.sampled_from(State))
def test_a_move_is_allowed_exactly_when_the_table_has_it(now: State, then: State) -> None:
    if then in NEXT[now]:
        check_move("job", now, then)
        assert now in sources_of(then)
    else:
        with pytest.raises(WrongState, match=f"is {now} and cannot become {then}"):
            check_move("job", now, then)
        assert now not in sources_of(then)


def test_every_state_can_reach_an_end_and_only_a_wish_leads_on_from_one() -> None:
    assert {state for state in State if not NEXT[state] - {State.QUEUED}} == TERMINAL
    assert {state for state in TERMINAL if NEXT[state]} == RETRYABLE
    assert NEXT[State.SUCCEEDED] == frozenset()
    for state in State:
        reached, grown = {state}, {state} | NEXT[state]
        while grown != reached:
            reached, grown = grown, grown.union(*(NEXT[s] for s in grown))
        assert reached & TERMINAL
    assert all(NEXT[state] for state in OWNED)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStore]:
    url = f"sqlite:///{tmp_path_factory.mktemp('states')}/jobs.db"
    migrate(url)
    with JobStore.open(url) as store:
        yield store


@dataclass(frozen=True)
class Step:
    """What one operation needs to know."""

    jobs: JobStore
    job_id: str
    epoch: int
    now: datetime

    def take_back(self) -> None:
        for lease in self.jobs.expired(self.now):
            if lease.job_id == self.job_id:
                self.jobs.take_back(lease, self.now, max_attempts=3)


ANYONES: dict[str, Callable[[Step], object]] = {
    "claim": lambda s: s.jobs.claim(s.job_id, "worker", s.now, 60),
    "cancel": lambda s: s.jobs.cancel("default", s.job_id, s.now),
    "retry": lambda s: s.jobs.retry("default", s.job_id, s.now),
    "take_back": Step.take_back,
    "sleep": lambda _: None,
}
OWNERS_ONLY: dict[str, Callable[[Step], object]] = {
    "heartbeat": lambda s: s.jobs.heartbeat(s.job_id, s.epoch, s.now, 60),
    "progress": lambda s: s.jobs.progress(
        s.job_id, s.epoch, Progress("pruning", 0.5, "half"), s.now, None
    ),
    "log": lambda s: s.jobs.log(s.job_id, s.epoch, "a line", s.now),
    "succeed": lambda s: s.jobs.succeed(
        s.job_id, s.epoch, f"jobs/{s.job_id}/{s.epoch}/manifest.json", s.now
    ),
    "fail": lambda s: s.jobs.fail(s.job_id, s.epoch, Failure(code="internal", message="no"), s.now),
    "requeue": lambda s: s.jobs.requeue(s.job_id, s.epoch, "died", s.now, max_attempts=3),
    "give_back": lambda s: s.jobs.give_back(s.job_id, s.epoch, "leaving", s.now),
}
OPERATIONS = ANYONES | OWNERS_ONLY


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 3)), min_size=1, max_size=25
    )
)
def test_whatever_is_asked_a_job_keeps_its_laws(
    jobs: JobStore, plan: list[tuple[str, int]]
) -> None:
    """The plan names operations and how many epochs behind the worker is that asks."""
    spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
    job = jobs.create("default", spec, START)
    now = START
    for name, behind in plan:
        now += timedelta(seconds=61 if name == "sleep" else 0.5)
        step = Step(jobs, job.id, job.epoch - behind, now)
        owner = behind == 0 and job.state in OWNED
        lost = _is_refused(name, step)
        if name in OWNERS_ONLY:
            assert lost is not owner
        after = jobs.get("default", job.id)
        _check(job, after, changed=not lost)
        job = after
    _check_history(jobs, job)


def _is_refused(name: str, step: Step) -> bool:
    """Do it; whether it was refused because the lease is lost."""
    try:
        OPERATIONS[name](step)
    except LeaseLost:
        return True
    except WrongState:
        assert name in ("cancel", "retry")
    return False


def _check(before: Job, after: Job, *, changed: bool) -> None:
    if before.state != after.state:
        assert changed
        assert after.state in NEXT[before.state]
    if before != after:
        assert after.version > before.version
    assert after.epoch - before.epoch == (before.state == "queued" and after.state == "running")
    assert 1 <= after.attempt <= 3
    assert (after.finished_at is not None) == (after.state in TERMINAL)
    assert (after.error is not None) == (after.state is State.FAILED)


def _check_history(jobs: JobStore, job: Job) -> None:
    events = jobs.events("default", job.id, limit=1000).data
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    states = [State(event.data["state"]) for event in events if event.type == "state"]
    assert states[0] is State.QUEUED
    assert states[-1] is job.state
    assert all(then in NEXT[now] for now, then in pairwise(states))
    key = jobs.manifest_key("default", job.id)
    assert key == (
        f"jobs/{job.id}/{job.epoch}/manifest.json" if job.state is State.SUCCEEDED else None
    )
