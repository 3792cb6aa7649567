"""What every database must do for the job store."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from core.errors import InvalidSpec, JobNotFound, LeaseLost, StoreUnavailable, WrongState
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.reaping import Ended
from core.jobs.records import Base, JobRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.progress import Progress
from core.spec import JobSpec
from tests.contract.jobs import LEASE, NOW, claimed, get, later, queued, spec


def test_migrations_make_the_tables_that_the_code_describes(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_a_new_job_is_queued_and_keeps_its_spec(jobs: JobStore) -> None:
    posted = spec(metadata={"team": "a"}, priority=3)
    job = jobs.create("default", posted, NOW)
    assert job == get(jobs, job.id)
    assert (job.state, job.attempt, job.epoch, job.progress) == (State.QUEUED, 1, 0, 0.0)
    assert (job.created_at, job.started_at, job.finished_at) == (NOW, None, None)
    assert JobSpec.model_validate(job.spec) == posted
    assert (job.metadata, job.priority) == ({"team": "a"}, 3)
    assert job.id.startswith("job_")
    assert len(job.id) == 28


def test_another_tenants_job_is_not_found(jobs: JobStore) -> None:
    job_id = queued(jobs)
    for ask in (jobs.get, jobs.events, jobs.manifest_key):
        with pytest.raises(JobNotFound):
            ask("other", job_id)
    with pytest.raises(JobNotFound):
        jobs.cancel("other", job_id, NOW)
    assert jobs.list("other").data == []


def test_a_run_from_claim_to_success(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claim = claimed(jobs, job_id)
    assert (claim.epoch, claim.attempt, claim.tenant, claim.spec) == (1, 1, "default", spec())
    versions = [get(jobs, job_id).version]
    state = jobs.progress(job_id, 1, Progress("pruning", 0.5, "half"), later(1), 2.5)
    assert state is State.RUNNING
    job = get(jobs, job_id)
    assert (job.phase, job.progress, job.message, job.eta_seconds) == ("pruning", 0.5, "half", 2.5)
    versions.append(job.version)
    jobs.progress(job_id, 1, Progress("pruning", 0.3, "back"), later(1), None)
    assert get(jobs, job_id).progress == 0.5
    jobs.log(job_id, 1, "a note", later(2), level="warning")
    versions.append(get(jobs, job_id).version)
    assert jobs.manifest_key("default", job_id) is None
    assert jobs.succeed(job_id, 1, "jobs/x/1/manifest.json", later(3)) is State.SUCCEEDED
    job = get(jobs, job_id)
    versions.append(job.version)
    assert (job.state, job.progress, job.phase) == (State.SUCCEEDED, 1.0, None)
    assert (job.started_at, job.finished_at) == (NOW, later(3))
    assert jobs.manifest_key("default", job_id) == "jobs/x/1/manifest.json"
    assert versions == sorted(set(versions))


def test_success_whose_answer_was_lost_can_be_told_again(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.succeed(job_id, 1, "jobs/x/1/manifest.json", later(3))
    before = get(jobs, job_id)
    assert jobs.succeed(job_id, 1, "jobs/x/1/manifest.json", later(9)) is State.SUCCEEDED
    assert get(jobs, job_id) == before
    with pytest.raises(LeaseLost):
        jobs.succeed(job_id, 1, "jobs/x/1/another.json", later(9))


def test_any_words_can_be_kept(jobs: JobStore) -> None:
    """What a run says comes from files and libraries; a NUL in it must not keep a job from its end."""
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.progress(job_id, 1, Progress("pruning", 0.5, "a\0b 🌲"), NOW, None)
    jobs.log(job_id, 1, "a\0b", NOW)
    jobs.fail(job_id, 1, Failure(code="bad-model", message="a\0b", remedy="\0"), NOW)
    messages = [event.message for event in jobs.events("default", job_id, after=2).data]
    assert messages == ["a\ufffdb 🌲", "a\ufffdb", "a\ufffdb"]
    assert get(jobs, job_id).state is State.FAILED


def test_a_heartbeat_renews_the_lease_and_is_no_change_a_client_sees(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    before = get(jobs, job_id)
    assert jobs.heartbeat(job_id, 1, later(50), LEASE) is State.RUNNING
    assert jobs.held_state(job_id, 1) is State.RUNNING
    assert get(jobs, job_id) == before
    assert jobs.expired(later(109)) == []
    assert len(jobs.expired(later(111))) == 1


def test_a_lost_lease_refuses_every_write(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    assert jobs.take_back(jobs.expired(later(61))[0], later(61), max_attempts=3) is State.QUEUED
    _refused(jobs, job_id)
    claimed(jobs, job_id, later(62))
    before = get(jobs, job_id)
    _refused(jobs, job_id)
    assert get(jobs, job_id) == before
    jobs.succeed(job_id, 2, "jobs/x/2/manifest.json", later(63))
    _refused(jobs, job_id)


def _refused(jobs: JobStore, job_id: str) -> None:
    """Nothing can be written under epoch 1."""
    failure = Failure(code="internal", message="no")
    writes: list[Callable[[], object]] = [
        lambda: jobs.heartbeat(job_id, 1, NOW, LEASE),
        lambda: jobs.held_state(job_id, 1),
        lambda: jobs.progress(job_id, 1, Progress("pruning", 0.9, "stale"), NOW, None),
        lambda: jobs.log(job_id, 1, "stale", NOW),
        lambda: jobs.succeed(job_id, 1, "jobs/x/1/manifest.json", NOW),
        lambda: jobs.fail(job_id, 1, failure, NOW),
        lambda: jobs.requeue(job_id, 1, "stale", NOW, max_attempts=3),
        lambda: jobs.give_back(job_id, 1, "stale", NOW),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()


def test_attempts_are_counted_and_end(jobs: JobStore) -> None:
    job_id = queued(jobs)
    for attempt, then in ((1, State.QUEUED), (2, State.QUEUED), (3, State.FAILED)):
        claim = claimed(jobs, job_id)
        assert claim.attempt == attempt
        assert jobs.requeue(job_id, claim.epoch, "killed", NOW, max_attempts=3) is then
    job = get(jobs, job_id)
    assert job.error is not None
    assert job.error.code == "worker-lost"
    assert job.error.remedy
    assert "killed" in job.error.message


def test_giving_back_does_not_count(jobs: JobStore) -> None:
    job_id = queued(jobs)
    for epoch in (1, 2, 3, 4):
        assert claimed(jobs, job_id).epoch == epoch
        assert jobs.give_back(job_id, epoch, "leaving", NOW) is State.QUEUED
    assert get(jobs, job_id).attempt == 1


def test_a_renewed_lease_is_not_taken_back(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    lease = jobs.expired(later(61))[0]
    jobs.heartbeat(job_id, 1, later(62), LEASE)
    assert jobs.take_back(lease, later(63), max_attempts=3) is None
    assert get(jobs, job_id).state is State.RUNNING


def test_two_reapers_take_back_once(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    lease = jobs.expired(later(61))[0]
    assert jobs.take_back(lease, later(61), max_attempts=3) is State.QUEUED
    assert jobs.take_back(lease, later(61), max_attempts=3) is None
    assert get(jobs, job_id).attempt == 2


def test_cancelling_before_during_and_after(jobs: JobStore) -> None:
    waiting, running, done = queued(jobs), queued(jobs), queued(jobs)
    assert jobs.cancel("default", waiting, NOW).state is State.CANCELLED
    claimed(jobs, running)
    first = jobs.cancel("default", running, NOW)
    assert first.state is State.CANCELLING
    assert jobs.cancel("default", running, NOW) == first
    assert jobs.heartbeat(running, 1, NOW, LEASE) is State.CANCELLING
    claimed(jobs, done)
    jobs.succeed(done, 1, "key", NOW)
    for job_id in (waiting, done):
        with pytest.raises(WrongState):
            jobs.cancel("default", job_id, NOW)
    assert jobs.claim(waiting, "worker", NOW, LEASE) is None


@pytest.mark.parametrize("ending", ["succeed", "fail", "requeue", "give_back", "reap"])
def test_a_cancelled_run_ends_as_cancelled_however_it_ended(jobs: JobStore, ending: str) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    jobs.cancel("default", job_id, NOW)
    match ending:
        case "succeed":
            jobs.succeed(job_id, 1, "key", NOW)
        case "fail":
            jobs.fail(job_id, 1, Failure(code="internal", message="no"), NOW)
        case "requeue":
            jobs.requeue(job_id, 1, "killed", NOW, max_attempts=3)
        case "give_back":
            jobs.give_back(job_id, 1, "leaving", NOW)
        case _:
            jobs.take_back(jobs.expired(later(61))[0], later(61), max_attempts=3)
    job = get(jobs, job_id)
    assert (job.state, job.error) == (State.CANCELLED, None)
    assert jobs.manifest_key("default", job_id) is None


def test_events_are_numbered_and_paged(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    for step in range(10):
        jobs.progress(job_id, 1, Progress("pruning", step / 10, str(step)), later(step), None)
    jobs.fail(job_id, 1, Failure(code="bad-data", message="why", remedy="do"), later(11))
    seen: list[int] = []
    while True:
        page = jobs.events("default", job_id, after=seen[-1] if seen else 0, limit=4)
        seen += [event.id for event in page.data]
        assert page.next == (str(seen[-1]) if page.has_more else None)
        if not page.has_more:
            break
    assert seen == list(range(1, 14))
    last = jobs.events("default", job_id, after=12).data[0]
    assert (last.type, last.level, last.data["state"]) == ("state", "error", "failed")
    assert last.data["error"] == {"code": "bad-data", "message": "why", "remedy": "do"}


def test_lists_are_filtered_and_paged_newest_first(jobs: JobStore) -> None:
    # Pairs share a moment, so the id has to break ties.
    ids = [
        queued(
            jobs, later(n // 2), method=("wanda", "magnitude")[n % 2], metadata={"n.x": str(n % 3)}
        )
        for n in range(9)
    ]
    seen: list[str] = []
    cursor = None
    while True:
        page = jobs.list("default", limit=2, after=cursor)
        seen += [job.id for job in page.data]
        cursor = page.next
        if not page.has_more:
            break
    assert sorted(seen) == sorted(ids)
    assert [get(jobs, i).created_at for i in seen] == sorted(
        (get(jobs, i).created_at for i in ids), reverse=True
    )
    assert {j.id for j in jobs.list("default", method="wanda").data} == set(ids[::2])
    assert {j.id for j in jobs.list("default", metadata={"n.x": "1"}).data} == set(ids[1::3])
    assert jobs.list("default", metadata={'n"x': "1"}).data == []
    assert jobs.list("default", model="example:y").data == []
    jobs.cancel("default", ids[4], NOW)
    assert [j.id for j in jobs.list("default", state=State.CANCELLED).data] == [ids[4]]


def test_lists_by_several_labels_are_paged_and_keep_to_their_tenant(jobs: JobStore) -> None:
    both = {"team": "ü", "run": "1"}
    ids = [
        queued(jobs, later(n // 3), metadata=both if n % 2 else {"team": "ü"}) for n in range(12)
    ]
    elsewhere = jobs.create("other", spec(metadata=both), NOW).id
    for wanted, expected in ((both, ids[1::2]), ({"team": "ü"}, ids), ({"run": "1"}, ids[1::2])):
        seen, cursor = list[str](), None
        while True:
            page = jobs.list("default", metadata=wanted, limit=2, after=cursor)
            seen += [job.id for job in page.data]
            cursor = page.next
            if cursor is None:
                break
        whole = [job.id for job in jobs.list("default", limit=200).data]
        assert seen == [job_id for job_id in whole if job_id in expected]
        # The order in which they are asked for, and those that differ, are found out, too.
        swapped = dict(reversed(wanted.items()))
        assert len(jobs.list("default", metadata=swapped).data) == len(expected)
        assert jobs.list("default", metadata={**wanted, "run": "2"}).data == []
    assert [job.id for job in jobs.list("other", metadata=both).data] == [elsewhere]
    jobs.cancel("default", ids[1], NOW)
    found = jobs.list("default", metadata=both, state=State.CANCELLED).data
    assert [job.id for job in found] == [ids[1]]
    assert jobs.list("default", metadata=both, method="magnitude").data == []
    jobs.bury("default", ids[1], NOW)
    assert len(jobs.list("default", metadata=both).data) == 5
    jobs.erase(ids[1])
    assert len(jobs.list("default", metadata=both).data) == 5


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WzEsMl0", "ünïcode", "====", "bnVsbA"])
def test_a_bad_cursor_is_refused(jobs: JobStore, cursor: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        jobs.list("default", after=cursor)
    assert refusal.value.fields[0]["field"] == "after"


def test_queued_jobs_come_by_priority_then_age(jobs: JobStore) -> None:
    old, young = queued(jobs, later(0)), queued(jobs, later(5))
    urgent, idle = queued(jobs, later(9), priority=1), queued(jobs, later(0), priority=-1)
    assert jobs.queued_ids() == [urgent, old, young, idle]
    assert jobs.queued_ids(limit=1) == [urgent]
    assert jobs.queued_ids(since=later(5)) == [old, young, idle]


def test_ended_jobs_are_swept_once(jobs: JobStore) -> None:
    never_ran, ran = queued(jobs), queued(jobs)
    jobs.cancel("default", never_ran, NOW)
    claimed(jobs, ran)
    assert jobs.unswept() == []
    jobs.succeed(ran, 1, "key", NOW)
    assert [(e.job_id, e.epoch, e.manifest_key) for e in jobs.unswept()] == [(ran, 1, "key")]
    before = get(jobs, ran)
    jobs.swept(Ended(ran, 1, "key"))
    assert jobs.unswept() == []
    assert get(jobs, ran) == before


def test_a_spec_of_another_version_fails_its_job(jobs: JobStore, database_url: str) -> None:
    job_id = queued(jobs)
    database = Database(database_url)
    with database.write() as session:
        record = session.get(JobRecord, job_id)
        assert record is not None
        record.spec = {"from": "the future"}
    database.close()
    assert jobs.claim(job_id, "worker", NOW, LEASE) is None
    job = get(jobs, job_id)
    assert job.state is State.FAILED
    assert job.error is not None
    assert job.error.code == "invalid-spec"


def test_a_database_without_tables_or_access_has_a_name(tmp_path: Path) -> None:
    with JobStore.open(f"sqlite:///{tmp_path}/empty.db") as store, pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(StoreUnavailable):
        migrate(f"sqlite:///{tmp_path}/no/such/folder/jobs.db")


def test_times_must_have_a_zone(jobs: JobStore) -> None:
    with pytest.raises(Exception, match="naive"):
        jobs.create("default", spec(), datetime(2026, 1, 1))  # noqa: DTZ001 - the point
