"""What every database must do for quotas: exact among many threads, and never in anybody's way."""

from contextlib import closing

import pytest

from core.jobs.leases import Claim
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure, Job
from core.limit_errors import QueueFull, StorageFull
from core.quotas import Quota, Quotas
from tests.contract.jobs import LEASE, NOW, at_once, later, spec


def quotas(**limits: int) -> Quotas:
    """For tenant `a`; nobody else has one."""
    return Quotas({"a": Quota.model_validate(limits)})


def submit(jobs: JobStore, tenant: str = "a", limits: Quotas | None = None, at: float = 0) -> str:
    return jobs.create(tenant, spec(), later(at), quotas=limits or Quotas({})).id


def start(jobs: JobStore, job_id: str, limits: Quotas) -> Claim | None:
    return jobs.claim(job_id, "w", NOW, LEASE, quotas=limits)


def succeed(jobs: JobStore, job_id: str, size: int) -> None:
    claim = start(jobs, job_id, Quotas({}))
    assert claim is not None
    key = f"jobs/{job_id}/1/manifest.json"
    assert jobs.succeed(job_id, claim.epoch, key, NOW, stored_bytes=size) is State.SUCCEEDED


class TestQueued:
    def test_of_twenty_at_once_exactly_five_get_in(self, jobs: JobStore) -> None:
        limits = quotas(queued_jobs=5)
        made = at_once(20, lambda _: jobs.create("a", spec(), NOW, quotas=limits))
        assert [type(each) for each in made].count(Job) == 5
        refused = [each for each in made if not isinstance(each, Job)]
        assert all(isinstance(each, QueueFull) for each in refused), refused
        assert len(jobs.list("a").data) == 5

    def test_one_who_leaves_makes_room_for_one(self, jobs: JobStore) -> None:
        limits = quotas(queued_jobs=2)
        first = submit(jobs, limits=limits)
        submit(jobs, limits=limits)
        with pytest.raises(QueueFull, match="has 2 queued jobs, and may have 2") as refused:
            submit(jobs, limits=limits)
        assert refused.value.retry_after == 30
        jobs.cancel("a", first, NOW)
        submit(jobs, limits=limits)
        with pytest.raises(QueueFull):
            submit(jobs, limits=limits)

    def test_it_is_nobody_elses_matter(self, jobs: JobStore) -> None:
        limits = quotas(queued_jobs=0)
        with pytest.raises(QueueFull):
            submit(jobs, limits=limits)
        for _ in range(3):
            submit(jobs, "b", limits)


class TestStored:
    def test_a_result_counts_until_it_expires(self, jobs: JobStore) -> None:
        limits = quotas(stored_bytes=100)
        small = submit(jobs)
        succeed(jobs, small, 60)
        large = submit(jobs, limits=limits)
        succeed(jobs, large, 2**40)
        with pytest.raises(StorageFull, match=str(60 + 2**40)) as refused:
            submit(jobs, limits=limits)
        assert refused.value.retry_after == 3600
        assert jobs.usage("a", limits).usage.stored_bytes == 60 + 2**40
        jobs.expire(large, NOW)
        assert jobs.usage("a", limits).usage.stored_bytes == 60
        jobs.expire(small, NOW)
        assert jobs.usage("a", limits).usage.stored_bytes == 0
        submit(jobs, limits=limits)

    def test_what_lost_its_race_against_a_cancellation_counts_nothing(self, jobs: JobStore) -> None:
        job_id = submit(jobs)
        claim = start(jobs, job_id, Quotas({}))
        assert claim is not None
        jobs.cancel("a", job_id, NOW)
        assert jobs.succeed(job_id, 1, "key", NOW, stored_bytes=9) is State.CANCELLED
        assert jobs.usage("a", Quotas({})).usage.stored_bytes == 0


class TestRunning:
    def test_of_many_claims_at_once_as_many_win_as_may_run(self, jobs: JobStore) -> None:
        limits = quotas(running_jobs=3)
        ids = [submit(jobs) for _ in range(12)]
        won = at_once(12, lambda n: start(jobs, ids[n], limits))
        assert [type(each) for each in won].count(Claim) == 3
        assert won.count(None) == 9
        assert jobs.usage("a", limits).usage.running_jobs == 3

    def test_who_may_not_is_passed_over_and_has_its_turn(self, jobs: JobStore) -> None:
        limits = quotas(running_jobs=1)
        first, second = (submit(jobs, at=n) for n in range(2))
        other = submit(jobs, "b", at=2)
        assert jobs.queued_ids(quotas=limits, limit=1) == [first]
        claim = start(jobs, first, limits)
        assert claim is not None
        assert jobs.queued_ids(quotas=limits) == [other]
        assert start(jobs, second, limits) is None
        assert jobs.passed_over("a", limits) is None
        assert start(jobs, other, limits) is not None
        jobs.fail(first, claim.epoch, Failure(code="x", message="y"), NOW)
        assert jobs.queued_ids(quotas=limits) == [second]
        assert jobs.passed_over("a", limits) == second
        assert start(jobs, second, limits) is not None

    def test_a_long_queue_of_one_tenant_hides_nobody(self, jobs: JobStore) -> None:
        limits = quotas(running_jobs=1)
        ids = [submit(jobs, at=n) for n in range(20)]
        assert start(jobs, ids[0], limits) is not None
        other = submit(jobs, "b", at=30)
        assert jobs.queued_ids(quotas=limits, limit=4) == [other]

    def test_a_job_that_is_being_cancelled_still_runs(self, jobs: JobStore) -> None:
        limits = quotas(running_jobs=1)
        first, second = (submit(jobs, at=n) for n in range(2))
        start(jobs, first, limits)
        jobs.cancel("a", first, NOW)
        assert start(jobs, second, limits) is None

    def test_where_nothing_limits_nobody_is_called_twice(self, jobs: JobStore) -> None:
        submit(jobs)
        assert jobs.passed_over("a", Quotas({})) is None

    def test_no_job_is_no_job(self, jobs: JobStore) -> None:
        assert start(jobs, "job_x", quotas(running_jobs=1)) is None


class TestWhoseQuota:
    def test_what_was_set_replaces_what_the_settings_say(self, jobs: JobStore) -> None:
        limits = quotas(queued_jobs=1, running_jobs=1)
        jobs.set_quota("a", Quota(queued_jobs=2), NOW)
        assert jobs.quota("a", limits) == Quota(queued_jobs=2)
        ids = [submit(jobs, limits=limits) for _ in range(2)]
        with pytest.raises(QueueFull):
            submit(jobs, limits=limits)
        # Also where it limits less: the settings' one running job does not shine through.
        assert [start(jobs, each, limits) is None for each in ids] == [False, False]
        jobs.set_quota("a", Quota(), NOW)
        assert jobs.quota("a", limits) == Quota()
        jobs.clear_quota("a", NOW)
        jobs.clear_quota("a", NOW)
        assert jobs.quota("a", limits) == limits.root["a"]

    def test_everybody_is_listed_who_has_anything(self, jobs: JobStore, database_url: str) -> None:
        limits = Quotas({"default": Quota(queued_jobs=9), "a": Quota(running_jobs=1)})
        succeed(jobs, submit(jobs), 7)
        submit(jobs, "b")
        jobs.set_quota("c", Quota(job_bytes=5), NOW)
        found = {each.tenant: each for each in jobs.tenants(limits)}
        assert sorted(found) == ["a", "b", "c"]
        assert found["a"].usage.stored_bytes == 7
        assert found["b"].usage.queued_jobs == 1
        assert found["b"].quota == Quota(queued_jobs=9)
        assert found["c"].quota == Quota(job_bytes=5)
        for name, each in found.items():
            assert jobs.usage(name, limits) == each
        with closing(JobStore.open(database_url)) as again:
            assert again.tenants(limits) == list(found.values())
