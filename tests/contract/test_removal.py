"""The end of a row: hidden first, gone last, and never while anybody works on it."""

import pytest
from sqlalchemy import func, select, text

from core.errors import JobNotFound, LeaseLost, WrongState
from core.jobs.database import Database
from core.jobs.records import EventRecord, JobRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from tests.contract.jobs import LEASE, NOW, at_once, claimed, get, later, queued


def succeeded(jobs: JobStore) -> str:
    job_id = queued(jobs)
    jobs.succeed(job_id, claimed(jobs, job_id).epoch, f"jobs/{job_id}/1/manifest.json", NOW)
    return job_id


def test_a_buried_job_is_nowhere_to_be_found(jobs: JobStore) -> None:
    job_id, other = succeeded(jobs), succeeded(jobs)
    jobs.bury("default", job_id, later(1))
    for ask in (
        jobs.get, jobs.events, jobs.manifest_key,
        lambda t, j: jobs.cancel(t, j, NOW), lambda t, j: jobs.retry(t, j, NOW),
        lambda t, j: jobs.bury(t, j, NOW), lambda t, j: jobs.news(t, j, after=0, limit=1),
    ):  # fmt: skip
        with pytest.raises(JobNotFound):
            ask("default", job_id)
    assert [job.id for job in jobs.list("default").data] == [other]
    assert list(jobs.versions({job_id, other})) == [other]
    assert jobs.versions_for([("default", job_id), ("default", other), ("x", other)]) == {
        ("default", other): get(jobs, other).version
    }


def test_its_result_protects_and_expires_no_more(jobs: JobStore) -> None:
    job_id, other = succeeded(jobs), succeeded(jobs)
    jobs.bury("default", job_id, later(1))
    assert [result.job_id for result in jobs.results("default")] == [other]
    assert not jobs.expire(job_id, NOW)
    assert job_id in [ended.job_id for ended in jobs.unswept()]
    # Its folder in the store is not that of an unknown job until its row is gone.
    assert job_id in jobs.standings([job_id])


def test_only_what_has_ended_can_be_buried(jobs: JobStore) -> None:
    waiting, running, cancelling = queued(jobs), queued(jobs), queued(jobs)
    for job_id in (running, cancelling):
        claimed(jobs, job_id)
    jobs.cancel("default", cancelling, NOW)
    for job_id in (waiting, running, cancelling):
        with pytest.raises(WrongState, match=f"is {get(jobs, job_id).state} and cannot be deleted"):
            jobs.bury("default", job_id, NOW)
    with pytest.raises(JobNotFound):
        jobs.bury("other", succeeded(jobs), NOW)
    assert jobs.buried() == []


def test_erasing_takes_the_history_along_and_only_of_the_buried(
    jobs: JobStore, database_url: str
) -> None:
    first, second, kept = (succeeded(jobs) for _ in range(3))
    for number, job_id in enumerate((first, second)):
        jobs.bury("default", job_id, later(number))
    assert jobs.buried() == [first, second]
    for job_id in (first, first, kept):
        jobs.erase(job_id)
    assert jobs.buried() == [second]
    assert get(jobs, kept).state is State.SUCCEEDED
    database = Database(database_url)
    with database.read() as session:
        for column in (JobRecord.id, EventRecord.job_id):
            left = session.scalars(select(column).distinct()).all()
            assert set(left) == {second, kept}
        assert session.scalar(select(func.count()).select_from(EventRecord)) == 6
    database.close()


def test_a_worker_that_tells_of_its_success_once_more_hears_that_it_is_over(
    jobs: JobStore,
) -> None:
    """LeaseLost is what makes it remove what it has stored."""
    job_id = succeeded(jobs)
    jobs.bury("default", job_id, NOW)
    with pytest.raises(LeaseLost):
        jobs.succeed(job_id, 1, f"jobs/{job_id}/1/manifest.json", NOW)
    assert jobs.claim(job_id, "worker", NOW, LEASE) is None


def test_a_retry_and_a_deletion_at_once_agree(jobs: JobStore) -> None:
    for _ in range(10):
        job_id = queued(jobs)
        jobs.cancel("default", job_id, NOW)
        operations = (jobs.retry, jobs.bury)
        retried, buried = at_once(2, lambda n: operations[n]("default", job_id, NOW))  # noqa: B023 - called before the next round
        if isinstance(retried, JobNotFound):
            assert buried is None
            assert job_id in jobs.buried()
        else:
            assert isinstance(buried, WrongState)
            assert get(jobs, job_id).state is State.QUEUED


@pytest.mark.parametrize("column", ["id", "sweep_id"])
def test_what_is_left_is_not_looked_for_among_all_that_is_left(
    jobs: JobStore, database_url: str, column: str
) -> None:
    """An index of deleted rows that holds the others, too, looks good to SQLite, and is every row."""
    queued(jobs)
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL counts its rows before it plans")
    database = Database(database_url)
    query = f"SELECT version FROM jobs WHERE {column} IN ('a', 'b') AND deleted_at IS NULL"
    with database.read() as session:
        plan = str(session.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
    database.close()
    assert f"({column}=?)" in plan
