"""Counts and figures for metrics, on every database."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from core.errors import StoreUnavailable
from core.jobs import tallies
from core.jobs.database import Database
from core.jobs.figures import Figures, Remembered
from core.jobs.migrate import migrate
from core.jobs.origin import Origin
from core.jobs.records import TallyRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.tallies import FOLDED_FROM, INFINITE, SUM, Key
from core.jobs.views import Failure
from tests.contract.jobs import NOW, at_once, claimed, later, queued, spec
from tests.contract.test_migrations import move

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def succeeded(jobs: JobStore, size: int) -> str:
    job_id = queued(jobs)
    claimed(jobs, job_id, later(7))
    jobs.spent(job_id, 1, {"pruning": 2.5, "publishing": 1e9}, {"sent_bytes": size}, later(8))
    jobs.succeed(job_id, 1, f"jobs/{job_id}/1/manifest.json", later(9), stored_bytes=size)
    return job_id


def test_an_empty_database_has_figures(jobs: JobStore) -> None:
    zeros = dict.fromkeys((State.QUEUED, State.RUNNING, State.CANCELLING), 0)
    assert jobs.figures() == Figures(zeros, None, 0, 0, {})


def test_figures_are_of_all_tenants_and_what_lives(jobs: JobStore) -> None:
    first, running, cancelling = (queued(jobs, later(n)) for n in (5, 6, 7))
    jobs.create("other", spec(), later(4))
    for job_id in (running, cancelling):
        claimed(jobs, job_id, later(8))
    jobs.cancel("default", cancelling, later(9))
    for size in (100, 2**40):
        succeeded(jobs, size)
    expired = succeeded(jobs, 50)
    jobs.expire(expired, later(20))
    figures = jobs.figures()
    assert figures.jobs == {State.QUEUED: 2, State.RUNNING: 1, State.CANCELLING: 1}
    assert figures.oldest_queued == later(4)
    assert figures.busy_workers == 1  # all of these have the same
    assert figures.stored_bytes == 2**40 + 100
    jobs.cancel("default", first, later(30))
    assert jobs.figures().jobs[State.QUEUED] == 1


def test_every_move_is_counted_once(jobs: JobStore) -> None:
    succeeded(jobs, 1)
    failed, taken, given, cancelled = (queued(jobs) for _ in range(4))
    for job_id in (failed, taken, given):
        claimed(jobs, job_id)
    jobs.fail(failed, 1, Failure(code="c", message="m"), later(1))
    jobs.give_back(given, 1, "leaves", later(1))
    jobs.cancel("default", cancelled, later(1))
    (lease,) = jobs.expired(later(61))
    assert jobs.take_back(lease, later(61), max_attempts=3) is State.QUEUED
    assert jobs.take_back(lease, later(62), max_attempts=3) is None
    claimed(jobs, taken, later(63))
    jobs.requeue(taken, 2, "died", later(64), max_attempts=3)
    counts = jobs.figures().counts
    assert {key: value for key, value in counts.items() if not key.bucket} == {
        Key("jobs_accepted"): 5,
        Key("jobs_finished", "succeeded"): 1,
        Key("jobs_finished", "failed"): 1,
        Key("jobs_finished", "cancelled"): 1,
        Key("attempts_started"): 5,
        Key("requeues", "given-back"): 1,
        Key("requeues", "lost"): 1,
        Key("requeues", "died"): 1,
    }
    assert counts[Key("wait_seconds", "", "15")] == 1  # the first, which waited for 7 s
    assert counts[Key("wait_seconds", "", "5")] == 1  # the one that was taken back, for 2 s
    assert counts[Key("phase_seconds", "pruning", "5")] == 1
    assert counts[Key("phase_seconds", "publishing", INFINITE)] == 1
    assert counts[Key("phase_seconds", "pruning", SUM)] == 2.5


def test_a_move_that_does_not_come_about_is_not_counted(jobs: JobStore) -> None:
    job_id = queued(jobs)
    before = jobs.figures().counts
    assert jobs.claim("job_" + "0" * 24, "w", NOW, 1) is None
    with pytest.raises(Exception, match="no longer held"):
        jobs.fail(job_id, 7, Failure(code="c", message="m"), NOW)
    assert jobs.figures().counts == before


def test_what_a_run_took_is_in_its_history(jobs: JobStore) -> None:
    job_id = succeeded(jobs, 5)
    told = jobs.events("default", job_id).data[2]
    assert told.message == "took 1000000002.5 s: pruning 2.5, publishing 1000000000.0"
    assert told.data == {"seconds": {"pruning": 2.5, "publishing": 1e9}, "sent_bytes": 5}


def test_a_claim_knows_the_request_that_made_the_job(jobs: JobStore) -> None:
    origin = Origin("request-1", TRACEPARENT)
    job_id = jobs.create("default", spec(), NOW, origin).id
    assert claimed(jobs, job_id).origin == origin
    assert jobs.events("default", job_id).data[0].data["request_id"] == "request-1"
    assert claimed(jobs, queued(jobs)).origin == Origin()


class TestFolding:
    def rows(self, url: str) -> int:
        database = Database(url)
        with database.read() as session:
            found = session.scalar(select(func.count()).select_from(TallyRecord)) or 0
        database.close()
        return found

    def fill(self, url: str, count: int) -> None:
        database = Database(url)
        with database.write() as session:
            for number in range(count):
                counts: dict[Key, float] = {
                    Key("requeues", "died"): 1,
                    Key("phase_seconds", "pruning", SUM): number / 8,
                }
                tallies.add(session, counts)
        database.close()

    def test_counts_stay_and_rows_go(self, jobs: JobStore, database_url: str) -> None:
        assert jobs.fold_tallies() == 0
        self.fill(database_url, FOLDED_FROM)
        before = jobs.figures().counts
        assert jobs.fold_tallies() == 2 * FOLDED_FROM - 2
        assert jobs.figures().counts == before
        assert self.rows(database_url) == 2
        assert jobs.fold_tallies() == 0  # so few are not worth it

    def test_several_at_once_lose_nothing(self, jobs: JobStore, database_url: str) -> None:
        self.fill(database_url, FOLDED_FROM * 2)
        before = jobs.figures().counts

        def run(number: int) -> object:
            if number % 2:
                return jobs.fold_tallies()
            return jobs.figures().counts

        found = at_once(6, run)
        assert [each for each in found if isinstance(each, dict)] == [before] * 3
        assert sum(each for each in found if isinstance(each, int)) > 0
        assert jobs.figures().counts == before

    def test_nobody_waits_for_a_worker_that_stopped_while_it_counted(
        self, jobs: JobStore, database_url: str
    ) -> None:
        if database_url.startswith("sqlite"):
            pytest.skip("SQLite has one writer: everybody waits for it")
        database = Database(database_url)
        with database.write() as stopped:
            tallies.count(stopped, "jobs_accepted")
            began = time.monotonic()
            queued(jobs)
            assert time.monotonic() - began < 5
        database.close()
        assert jobs.figures().counts[Key("jobs_accepted")] == 2


def test_what_happened_before_the_migration_is_counted(database_url: str) -> None:
    migrate(database_url)
    with JobStore.open(database_url) as jobs:
        succeeded(jobs, 5)
        jobs.expire(succeeded(jobs, 5), later(10))
        jobs.cancel("default", queued(jobs), NOW)
        queued(jobs)
    move(database_url, "0003")
    migrate(database_url)
    with JobStore.open(database_url) as jobs:
        assert jobs.figures().counts == {
            Key("jobs_accepted"): 4,
            Key("results_expired"): 1,
            Key("jobs_finished", "succeeded"): 2,
            Key("jobs_finished", "cancelled"): 1,
        }
        assert jobs.figures().jobs[State.QUEUED] == 1


def test_only_indexes_are_read(jobs: JobStore, database_url: str) -> None:
    """With many jobs that have ended, figures must not look at them one by one."""
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL reads tables of this size whole, and rightly")
    database = Database(database_url)
    with database.read() as session:
        for query in (
            "SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY state",
            "SELECT min(queued_at) FROM jobs WHERE state = 'queued'",
            "SELECT sum(stored_bytes) FROM jobs WHERE manifest_key IS NOT NULL",
        ):
            plan = str(session.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
            assert "INDEX" in plan, plan
            assert "SCAN jobs'" not in plan
    database.close()


class TestRemembered:
    def remembered(self, look: Callable[[], Figures]) -> tuple[Remembered, list[float]]:
        now = [0.0]
        return Remembered(look, lambda: now[0], 5.0), now

    def test_many_scrapes_are_one_look(self) -> None:
        looks: list[int] = []
        figures = Figures({}, None, 0, 0, {})

        def look() -> Figures:
            looks.append(1)
            time.sleep(0.05)
            return figures

        ask, now = self.remembered(look)
        assert at_once(8, lambda _: ask()) == [figures] * 8
        now[0] = 4.9
        ask()
        assert len(looks) == 1
        now[0] = 5.0
        ask()
        assert len(looks) == 2

    def test_a_database_that_is_away_is_not_asked_by_each(self) -> None:
        looks: list[int] = []

        def look() -> Figures:
            looks.append(1)
            raise StoreUnavailable("it is away.")

        ask, now = self.remembered(look)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                ask()
        assert len(looks) == 1
        now[0] = timedelta(seconds=6).total_seconds()
        with pytest.raises(StoreUnavailable):
            ask()
        assert len(looks) == 2
