"""A job that runs again after its end, and what still knows of its first run."""

import pytest
from sqlalchemy import select

from core.errors import JobNotFound, LeaseLost, WrongState
from core.jobs.database import Database
from core.jobs.reaping import Ended
from core.jobs.records import JobRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.progress import Progress
from tests.contract.jobs import LEASE, NOW, at_once, claimed, get, later, queued

WHY = Failure(code="bad-data", message="why", remedy="do")


def failed(jobs: JobStore, attempts: int = 1) -> str:
    job_id = queued(jobs, priority=2, metadata={"team": "a"})
    for attempt in range(1, attempts + 1):
        claim = claimed(jobs, job_id)
        jobs.progress(job_id, claim.epoch, Progress("pruning", 0.5, "half"), later(1), 2.5)
        if attempt < attempts:
            jobs.requeue(job_id, claim.epoch, "died", later(1), max_attempts=9)
    jobs.fail(job_id, attempts, WHY, later(2))
    return job_id


def test_a_failed_job_begins_anew(jobs: JobStore) -> None:
    job_id = failed(jobs, attempts=2)
    before = get(jobs, job_id)
    job = jobs.retry("default", job_id, later(10))
    assert job == get(jobs, job_id)
    assert (job.state, job.attempt, job.epoch) == (State.QUEUED, 1, 2)
    assert (job.error, job.phase, job.progress, job.eta_seconds) == (None, None, 0.0, None)
    assert (job.started_at, job.finished_at, job.expired_at) == (None, None, None)
    kept = ("id", "created_at", "spec", "metadata", "priority")
    assert all(getattr(job, name) == getattr(before, name) for name in kept)
    assert job.version > before.version
    last = jobs.events("default", job_id).data[-1]
    assert (last.type, last.level, last.message) == ("state", "info", "queued again")
    assert last.data == {"state": "queued", "attempt": 1}
    claim = claimed(jobs, job_id, later(11))
    assert (claim.epoch, claim.attempt) == (3, 1)
    assert get(jobs, job_id).started_at == later(11)
    key = f"jobs/{job_id}/3/manifest.json"
    assert jobs.succeed(job_id, 3, key, later(12)) is State.SUCCEEDED


def test_it_keeps_its_place_by_age_and_waits_from_now_on(jobs: JobStore) -> None:
    job_id, other = queued(jobs), queued(jobs, later(5))
    jobs.cancel("default", job_id, later(6))
    jobs.retry("default", job_id, later(7))
    assert jobs.queued_ids() == [job_id, other]
    assert jobs.queued_ids(since=later(6)) == [other]


def test_only_what_failed_or_was_cancelled_can_be_retried(jobs: JobStore) -> None:
    waiting, running, cancelling, done = (queued(jobs) for _ in range(4))
    for job_id in (running, cancelling, done):
        claimed(jobs, job_id)
    jobs.cancel("default", cancelling, NOW)
    jobs.succeed(done, 1, "key", NOW)
    for job_id in (waiting, running, cancelling, done):
        before = get(jobs, job_id)
        with pytest.raises(WrongState, match=f"is {before.state} and cannot be retried"):
            jobs.retry("default", job_id, NOW)
        assert get(jobs, job_id) == before
    with pytest.raises(JobNotFound):
        jobs.retry("other", failed(jobs), NOW)


def test_of_many_retries_at_once_one_is_made(jobs: JobStore) -> None:
    job_id = failed(jobs)
    answers = at_once(6, lambda _: jobs.retry("default", job_id, NOW))
    assert sum(isinstance(each, WrongState) for each in answers) == 5
    messages = [event.message for event in jobs.events("default", job_id).data]
    assert messages.count("queued again") == 1


def test_a_sweep_of_the_first_end_says_nothing_of_the_second(jobs: JobStore) -> None:
    job_id = failed(jobs)
    assert jobs.unswept() == [Ended(job_id, 1, None)]
    (seen,) = jobs.unswept()
    jobs.retry("default", job_id, NOW)
    assert jobs.unswept() == []
    jobs.swept(seen)
    claimed(jobs, job_id)
    jobs.swept(seen)
    jobs.fail(job_id, 2, WHY, NOW)
    jobs.swept(seen)
    assert jobs.unswept() == [Ended(job_id, 2, None)]


def test_a_swept_job_is_swept_again(jobs: JobStore, database_url: str) -> None:
    job_id = failed(jobs)
    jobs.swept(Ended(job_id, 1, None))
    jobs.retry("default", job_id, NOW)
    database = Database(database_url)
    with database.read() as session:
        assert session.scalars(select(JobRecord.swept)).all() == [False]
    database.close()
    jobs.cancel("default", job_id, NOW)  # before it ran
    assert jobs.unswept() == [Ended(job_id, 1, None)]


def test_the_worker_of_the_first_run_has_lost_it(jobs: JobStore) -> None:
    job_id = failed(jobs)
    jobs.retry("default", job_id, NOW)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            jobs.heartbeat(job_id, 1, NOW, LEASE)
        with pytest.raises(LeaseLost):
            jobs.succeed(job_id, 1, f"jobs/{job_id}/1/manifest.json", NOW)
        jobs.claim(job_id, "another", NOW, LEASE)
