"""Laws of the order, on a real store that is driven at random, against a model that is obvious."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.jobs.migrate import migrate
from core.jobs.order import next_to_run
from core.jobs.store import JobStore
from core.spec import parse_spec

START = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS = 3
EXAMPLES = count()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStore]:
    url = f"sqlite:///{tmp_path_factory.mktemp('order')}/jobs.db"
    migrate(url)
    with JobStore.open(url) as store:
        yield store


@dataclass
class Model:
    """Plain lists. A tenant is named anew in each example, so that none has a past."""

    name: str
    waiting: dict[str, list[tuple[int, datetime, str]]] = field(default_factory=dict)
    running: list[tuple[str, str, int]] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    """Claims that a tenant without a running job has seen go to others while it waited."""

    def runs(self, tenant: str) -> int:
        return sum(1 for each, _, _ in self.running if each == tenant)

    def next(self) -> str:
        """The job that has to be first."""
        heads = {tenant: min(queue) for tenant, queue in self.waiting.items() if queue}
        tenant = min(
            heads,
            key=lambda t: (self.runs(t), self.turns.get(t, 0), heads[t][1], heads[t][2]),
        )
        return heads[tenant][2]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["post", "post", "post", "claim", "claim", "end", "back"]),
        st.integers(0, TENANTS - 1),
        st.integers(-1, 1),
    ),
    min_size=15,
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_the_first_is_the_one_that_the_model_says(jobs: JobStore, steps: list[Step]) -> None:
    model = Model(f"example{next(EXAMPLES)}")
    clock = (START + timedelta(seconds=n) for n in count())
    for kind, tenant, priority in steps:
        now = next(clock)
        if kind == "post":
            _post(jobs, model, f"{model.name}-{tenant}", priority, now)
        elif kind == "claim" and any(model.waiting.values()):
            _claim(jobs, model, now)
        elif kind in ("end", "back") and model.running:
            _end(jobs, model, tenant % len(model.running), now, back=kind == "back")
    while any(model.waiting.values()):  # and leave nothing for the next example
        _claim(jobs, model, next(clock))
        _end(jobs, model, 0, next(clock), back=False)
    while model.running:
        _end(jobs, model, 0, next(clock), back=False)
    assert jobs.queued_ids() == []


def _post(jobs: JobStore, model: Model, tenant: str, priority: int, now: datetime) -> None:
    data = {"model": {"source": "example:x"}, "sparsity": 0.5, "priority": priority}
    job = jobs.create(tenant, parse_spec(data), now)
    model.waiting.setdefault(tenant, []).append((-priority, now, job.id))


def _claim(jobs: JobStore, model: Model, now: datetime) -> None:
    first, *_ = jobs.queued_ids()
    assert first == model.next()
    claim = jobs.claim(first, "worker", now, 60.0)
    assert claim is not None
    for tenant, queue in model.waiting.items():
        if tenant == claim.tenant or not queue or model.runs(tenant):
            model.passed[tenant] = 0
            continue
        # Nobody who has nothing running sees another tenant served twice.
        model.passed[tenant] = model.passed.get(tenant, 0) + 1
        assert model.passed[tenant] < TENANTS
    queue = model.waiting[claim.tenant]
    queue.remove(next(each for each in queue if each[2] == first))
    model.running.append((claim.tenant, first, claim.epoch))
    model.turns[claim.tenant] = max(model.turns.values(), default=0) + 1


def _end(jobs: JobStore, model: Model, index: int, now: datetime, *, back: bool) -> None:
    tenant, job_id, epoch = model.running.pop(index)
    if back:
        jobs.give_back(job_id, epoch, "leaving", now)
        job = jobs.get(tenant, job_id)
        model.waiting[tenant].append((-job.priority, job.created_at, job_id))
    else:
        jobs.succeed(job_id, epoch, f"jobs/{job_id}/manifest.json", now)


def test_no_claim_reads_what_neither_waits_nor_runs(jobs: JobStore) -> None:
    """Jobs that are over are the most there are, and stay for ever."""
    with jobs._database.read() as session:
        query = next_to_run(16).compile(session.bind, compile_kwargs={"literal_binds": True})
        steps = [str(row[3]) for row in session.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    reads = [step for step in steps if " jobs " in f"{step} "]
    assert len(reads) == 2, steps
    for step in reads:
        assert step == "SEARCH jobs USING COVERING INDEX ix_jobs_order (state=?)"
