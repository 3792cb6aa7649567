"""Every run of a job is remembered, with how it ended and why."""

import pytest
from sqlalchemy import text

from core.jobs.attempts import SHOWN
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Attempt, Failure
from core.progress import Forecast
from tests.contract.jobs import LEASE, NOW, claimed, get, later, queued
from tests.contract.test_migrations import move

FORECAST = Forecast(2**40, 2**41, 2**33, 16, 1.5e18, 1800.0)


def runs(jobs: JobStore, job_id: str) -> list[tuple[int, int, str | None, str]]:
    found = get(jobs, job_id).attempts
    assert found is not None
    return [(each.number, each.epoch, each.outcome, each.reason) for each in found]


def test_runs_are_remembered_with_their_reasons(jobs: JobStore) -> None:
    job_id = queued(jobs)
    assert get(jobs, job_id).attempts == ()
    claimed(jobs, job_id)
    jobs.give_back(job_id, 1, "worker a shuts down", later(1))
    claimed(jobs, job_id, later(2))
    jobs.take_back(jobs.expired(later(70))[0], later(70), max_attempts=3)
    claimed(jobs, job_id, later(80))
    jobs.requeue(job_id, 3, "killed", later(90), max_attempts=3)
    claimed(jobs, job_id, later(100))
    running = get(jobs, job_id).attempts
    assert running is not None
    assert running[-1] == Attempt(
        number=3, epoch=4, worker="worker", started_at=later(100), ended_at=None, outcome=None,
        reason="",
    )  # fmt: skip
    jobs.fail(job_id, 4, Failure(code="bad-data", message="too short"), later(110))
    assert runs(jobs, job_id) == [
        (1, 1, "given-back", "worker a shuts down"),
        (1, 2, "lost", "worker worker was not heard of in time"),
        (2, 3, "died", "killed"),
        (3, 4, "failed", "too short"),
    ]
    ended = get(jobs, job_id).attempts
    assert ended is not None
    assert [each.ended_at for each in ended] == [later(1), later(70), later(90), later(110)]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("out-of-memory", "out-of-memory"), ("phase-timeout", "timed-out"), ("internal", "failed")],
)
def test_a_failure_is_told_by_its_kind(jobs: JobStore, code: str, outcome: str) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.fail(job_id, 1, Failure(code=code, message="why"), NOW)
    assert runs(jobs, job_id) == [(1, 1, outcome, "why")]


def test_success_and_cancellation_need_no_reason(jobs: JobStore) -> None:
    won, stopped, never, again = (queued(jobs) for _ in range(4))
    claimed(jobs, won)
    jobs.succeed(won, 1, "key", NOW)
    claimed(jobs, stopped)
    jobs.cancel("default", stopped, NOW)
    jobs.requeue(stopped, 1, "the run was killed", NOW, max_attempts=3)
    jobs.cancel("default", never, NOW)
    claimed(jobs, again)
    jobs.give_back(again, 1, "leaving", NOW)
    jobs.cancel("default", again, NOW)
    assert runs(jobs, again) == [(1, 1, "given-back", "leaving")]
    assert runs(jobs, won) == [(1, 1, "succeeded", "")]
    assert runs(jobs, stopped) == [(1, 1, "cancelled", "")]
    assert runs(jobs, never) == []


def test_the_last_attempt_keeps_how_it_ended_and_its_log(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.requeue(
        job_id, 1, "no memory", NOW, max_attempts=1, outcome="out-of-memory",
        code="out-of-memory", remedy="buy", log=("last\0words",), memory_budget=7,
    )  # fmt: skip
    job = get(jobs, job_id)
    assert job.error == Failure(
        code="out-of-memory", message="attempt 1 of 1 ended early: no memory", remedy="buy",
        log=("last\0words",),
    )  # fmt: skip
    assert [each[2] for each in runs(jobs, job_id)] == ["out-of-memory"]
    (event,) = [e for e in jobs.events("default", job_id).data if "error" in e.data]
    assert "log" not in event.data["error"]


def test_lists_have_neither_attempts_nor_logs(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.fail(job_id, 1, Failure(code="internal", message="m", log=("a", "b")), NOW)
    (listed,) = jobs.list("default").data
    assert listed.attempts is None
    assert listed.error == Failure(code="internal", message="m")
    assert get(jobs, job_id).error == Failure(code="internal", message="m", log=("a", "b"))


def test_a_budget_is_for_the_next_runs_until_the_job_s_end(jobs: JobStore) -> None:
    job_id = queued(jobs)
    assert claimed(jobs, job_id).memory_budget is None
    jobs.requeue(job_id, 1, "no memory", NOW, max_attempts=3, memory_budget=3 * 2**40)
    assert claimed(jobs, job_id).memory_budget == 3 * 2**40
    jobs.give_back(job_id, 2, "leaving", NOW)
    assert claimed(jobs, job_id).memory_budget == 3 * 2**40
    jobs.requeue(job_id, 3, "killed", NOW, max_attempts=3)
    assert claimed(jobs, job_id).memory_budget == 3 * 2**40
    jobs.take_back(jobs.expired(later(61))[0], later(61), max_attempts=9)
    jobs.requeue(
        job_id, claimed(jobs, job_id).epoch, "no memory", NOW, max_attempts=9, memory_budget=2**40
    )
    assert claimed(jobs, job_id).memory_budget == 2**40


def test_a_plan_stays_until_the_next_run(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    version = get(jobs, job_id).version
    assert jobs.planned(job_id, 1, FORECAST, NOW) is State.RUNNING
    job = get(jobs, job_id)
    assert job.plan == FORECAST
    assert job.version > version
    event = jobs.events("default", job_id).data[-1]
    assert event.data["plan"]["group"] == 16
    assert event.message == (
        "planned: 1099.51 GB at its peak, of a budget of 2199.02 GB, groups of 16, about 30 min of work"
    )
    jobs.requeue(job_id, 1, "killed", NOW, max_attempts=3)
    assert get(jobs, job_id).plan == FORECAST
    claimed(jobs, job_id)
    assert get(jobs, job_id).plan is None


def test_only_the_newest_runs_are_shown(jobs: JobStore) -> None:
    job_id = queued(jobs)
    for epoch in range(1, SHOWN + 3):
        claimed(jobs, job_id)
        jobs.give_back(job_id, epoch, "leaving", NOW)
    assert [each[1] for each in runs(jobs, job_id)] == list(range(3, SHOWN + 3))


def test_a_spec_that_cannot_be_read_is_an_attempt_that_failed(
    jobs: JobStore, database_url: str
) -> None:
    job_id = queued(jobs)
    database = Database(database_url)
    with database.write() as session:
        session.execute(text("UPDATE jobs SET spec = '{}'"))
    database.close()
    assert jobs.claim(job_id, "worker", NOW, LEASE) is None
    assert [each[2] for each in runs(jobs, job_id)] == ["failed"]


def test_jobs_from_before_go_on_after_the_migration(database_url: str) -> None:
    """One that runs while its table changes, and one whose failure has no log."""
    migrate(database_url)
    with JobStore.open(database_url) as store:
        running, failed = queued(store), queued(store)
        claimed(store, running)
        claimed(store, failed)
        store.fail(failed, 1, Failure(code="internal", message="m"), NOW)
    database = Database(database_url, pooled=False)
    with database.write() as session:
        error = '{"code": "internal", "message": "m", "remedy": ""}'
        session.execute(text("UPDATE jobs SET error = :e WHERE id = :i"), {"e": error, "i": failed})
    move(database_url, "0003")
    migrate(database_url)
    with JobStore.open(database_url) as store:
        assert len(store.events("default", running).data) == 2
        assert get(store, failed).error == Failure(code="internal", message="m")
        assert store.requeue(running, 1, "killed", NOW, max_attempts=3) is State.QUEUED
        assert runs(store, running) == []
        claimed(store, running)
        assert [each[:2] for each in runs(store, running)] == [(2, 2)]
