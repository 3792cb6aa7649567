"""A request under one key makes one job, on every database and in every race."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, text

from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs.database import Database
from core.jobs.idempotency import KEPT, IdempotencyRecord, Once, Posted, digest_of, lock_key
from core.jobs.records import EventRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from tests.contract.jobs import NOW, at_once, later, queued, spec

KEY = Once("a-key", "0" * 64)


def post(jobs: JobStore, once: Once = KEY, now: datetime = NOW, tenant: str = "default") -> Posted:
    return jobs.create_once(tenant, spec(), now, once)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


def test_the_second_request_finds_the_job_of_the_first_as_it_stands(jobs: JobStore) -> None:
    first = post(jobs)
    assert (first.replayed, first.job.state) == (False, State.QUEUED)
    jobs.cancel("default", first.job.id, NOW)
    again = post(jobs, now=later(60))
    assert (again.replayed, again.job) == (True, jobs.get("default", first.job.id))
    assert again.job.state is State.CANCELLED
    assert [job.id for job in jobs.list("default").data] == [first.job.id]
    assert [e.message for e in jobs.events("default", first.job.id).data] == [
        "queued", "cancelled"
    ]  # fmt: skip


def test_another_body_under_the_key_is_refused_and_makes_nothing(jobs: JobStore) -> None:
    post(jobs)
    with pytest.raises(IdempotencyKeyReused):
        post(jobs, Once(KEY.key, "1" * 64))
    assert len(jobs.list("default").data) == 1


def test_keys_belong_to_their_tenants(jobs: JobStore) -> None:
    ours, theirs = post(jobs), post(jobs, Once(KEY.key, "1" * 64), tenant="other")
    assert not theirs.replayed
    assert ours.job.id != theirs.job.id
    assert [job.id for job in jobs.list("other").data] == [theirs.job.id]


def test_a_key_means_a_job_for_a_day(jobs: JobStore) -> None:
    first = post(jobs)
    day = KEPT.total_seconds()
    assert post(jobs, now=later(day - 1)).job.id == first.job.id
    second = post(jobs, Once(KEY.key, "1" * 64), later(day))
    assert not second.replayed
    assert post(jobs, Once(KEY.key, "1" * 64), later(day + 1)).job.id == second.job.id


def test_what_is_a_day_old_is_forgotten_and_nothing_else(
    jobs: JobStore, database: Database
) -> None:
    kept = post(jobs, Once("young", "0" * 64), later(1)).job
    old = post(jobs).job
    assert jobs.forget_keys(NOW + KEPT - timedelta(seconds=1)) == 0
    assert jobs.forget_keys(NOW + KEPT) == 1
    assert jobs.forget_keys(NOW + KEPT) == 0
    with database.read() as session:
        assert session.scalars(select(IdempotencyRecord.key)).all() == ["young"]
    assert {job.id for job in jobs.list("default").data} == {kept.id, old.id}


def test_of_many_requests_at_once_one_makes_the_job(jobs: JobStore) -> None:
    for round_ in range(5):
        once = Once(f"key-{round_}", "0" * 64)
        answers = at_once(8, partial(_post_as, jobs, once))
        posted = [each for each in answers if isinstance(each, Posted)]
        assert len({each.job.id for each in posted}) == 1
        assert [each.replayed for each in posted].count(False) == 1
        refused = [each for each in answers if not isinstance(each, Posted)]
        assert all(isinstance(each, IdempotencyKeyInFlight) for each in refused), refused
    assert len(jobs.list("default").data) == 5


def _post_as(jobs: JobStore, once: Once, _: int) -> Posted:
    return post(jobs, once)


def test_processes_are_as_good_as_threads(jobs: JobStore, database_url: str) -> None:
    """Each store has its own idea of what is in flight, as each process has."""
    stores = [JobStore.open(database_url) for _ in range(6)]
    answers = at_once(6, lambda number: post(stores[number]))
    for store in stores:
        store.close()
    assert len(jobs.list("default").data) == 1
    assert all(isinstance(each, Posted | IdempotencyKeyInFlight) for each in answers), answers


def test_another_process_that_is_at_the_key_is_not_waited_for(
    jobs: JobStore, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer: whoever writes next finds the first one's job")
    other = JobStore.open(database_url)
    with jobs._database.write() as session:
        lock_key(session, "default", KEY.key)
        with pytest.raises(IdempotencyKeyInFlight):
            post(other)
        assert not post(other, Once("another", "0" * 64)).replayed
        assert not post(other, tenant="other").replayed
    assert not post(other).replayed
    other.close()


def test_a_crash_leaves_neither_job_nor_key(
    jobs: JobStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sqlalchemy.orm.SessionTransaction.commit", crash)
        with pytest.raises(KeyboardInterrupt):
            post(jobs)
    with database.read() as session:
        for record in (IdempotencyRecord, EventRecord):
            assert session.scalar(select(func.count()).select_from(record)) == 0
    assert jobs.list("default").data == []
    assert not post(jobs).replayed


def test_a_deleted_jobs_key_is_free(jobs: JobStore) -> None:
    first = post(jobs).job
    jobs.cancel("default", first.id, NOW)
    jobs.bury("default", first.id, NOW)
    second = post(jobs)
    assert not second.replayed
    assert second.job.id != first.id
    jobs.erase(first.id)
    assert post(jobs).job.id == second.job.id


def test_the_row_goes_with_the_jobs(jobs: JobStore, database: Database) -> None:
    post(jobs)
    kept = queued(jobs)
    with database.write() as session:
        session.execute(text("DELETE FROM jobs WHERE id != :kept"), {"kept": kept})
    with database.read() as session:
        assert session.scalars(select(IdempotencyRecord)).all() == []


def test_the_digest_knows_content_and_not_form() -> None:
    assert digest_of({"a": 1, "b": {"c": [1, 2], "d": "é"}}) == digest_of(
        {"b": {"d": "é", "c": [1, 2]}, "a": 1}
    )
    different: list[dict[str, object]] = [
        {},
        {"a": 1},
        {"a": "1"},
        {"a": 2},
        {"a": [1]},
        {"a": None},
        {"b": 1},
    ]
    assert len({digest_of(each) for each in different}) == len(different)
