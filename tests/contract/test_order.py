"""Which job runs next, on every database: fair between tenants, by priority and age within one."""

from core.jobs.states import State
from core.jobs.store import JobStore
from tests.contract.jobs import LEASE, NOW, at_once, later, spec


def post(jobs: JobStore, tenant: str, seconds: float = 0, priority: int = 0) -> str:
    return jobs.create(tenant, spec(priority=priority), later(seconds)).id


def claim_next(jobs: JobStore) -> str:
    """The tenant whose job a free worker takes."""
    claim = jobs.claim(jobs.queued_ids(limit=1)[0], "worker", NOW, LEASE)
    assert claim is not None
    return claim.tenant


def test_within_a_tenant_priority_goes_before_age(jobs: JobStore) -> None:
    old, young = post(jobs, "a"), post(jobs, "a", 5)
    urgent, idle = post(jobs, "a", 9, priority=1), post(jobs, "a", 0, priority=-1)
    assert jobs.queued_ids() == [urgent, old, young, idle]


def test_a_job_that_comes_back_keeps_its_age(jobs: JobStore) -> None:
    first, second = post(jobs, "a"), post(jobs, "a", 1)
    assert jobs.claim(first, "worker", NOW, LEASE)
    jobs.give_back(first, 1, "leaving", later(100))
    assert jobs.queued_ids() == [first, second]


def test_priority_says_nothing_to_other_tenants(jobs: JobStore) -> None:
    urgent = [post(jobs, "a", n, priority=100) for n in range(3)]
    humble = [post(jobs, "b", 10 + n, priority=-100) for n in range(3)]
    found = jobs.queued_ids()
    assert [each in urgent for each in found] == [True, False] * 3
    assert [each for each in found if each in humble] == humble


def test_the_tenant_with_the_fewest_running_goes_first(jobs: JobStore) -> None:
    for tenant, count in (("a", 4), ("b", 4), ("c", 1)):
        for n in range(count):
            post(jobs, tenant, n)
    running = {"a": 0, "b": 0, "c": 0}
    for _ in range(9):
        tenant = claim_next(jobs)
        waiting = {each for each in running if jobs.list(each, state=State.QUEUED).data} | {tenant}
        assert running[tenant] == min(running[each] for each in waiting)
        running[tenant] += 1
    assert running == {"a": 4, "b": 4, "c": 1}


def test_who_has_nothing_running_goes_before_who_was_served_longer_ago(jobs: JobStore) -> None:
    for first, tenant in enumerate(("a", "b")):
        for n in range(2):
            post(jobs, tenant, 2 * n + first)
    assert claim_next(jobs) == "a"
    assert _run_one(jobs) == "b"
    assert claim_next(jobs) == "b"


def test_a_crowd_delays_a_newcomer_by_one_job_at_most(jobs: JobStore) -> None:
    """With one worker, which has always just ended what it had."""
    for n in range(30):
        post(jobs, "crowd", n)
    for _ in range(5):
        _run_one(jobs)
    post(jobs, "new", 1000)
    post(jobs, "new", 1001)
    assert [_run_one(jobs) for _ in range(5)] == ["new", "crowd", "new", "crowd", "crowd"]
    post(jobs, "new", 1002)
    post(jobs, "newer", 1003)
    assert [_run_one(jobs) for _ in range(4)] == ["newer", "new", "crowd", "crowd"]


def test_the_list_goes_on_as_if_its_jobs_were_running(jobs: JobStore) -> None:
    """So that workers which look at the same moment take different tenants."""
    for n in range(3):
        post(jobs, "a", n)
    b, c = post(jobs, "b", 50), post(jobs, "c", 60)
    a1, second, third, *rest = jobs.queued_ids()
    assert [second, third] == [b, c]
    assert len(rest) == 2
    assert jobs.claim(a1, "worker", NOW, LEASE)
    assert jobs.queued_ids()[:2] == [b, c]


def test_waiting_since(jobs: JobStore) -> None:
    old, young, other = post(jobs, "a"), post(jobs, "a", 10), post(jobs, "b", 3)
    assert jobs.queued_ids(since=later(5)) == [old, other]
    assert jobs.queued_ids(since=later(-1)) == []
    assert young in jobs.queued_ids()


def test_claims_of_one_tenant_at_the_same_moment_all_succeed(jobs: JobStore) -> None:
    """Also the very first ones, which all want to note the tenant's first turn."""
    waiting = [post(jobs, tenant, n) for n in range(4) for tenant in ("a", "b")]
    found = at_once(8, lambda n: jobs.claim(waiting[n], f"worker{n}", NOW, LEASE))
    assert all(not isinstance(each, BaseException) and each for each in found), found
    post(jobs, "c")
    assert claim_next(jobs) == "c"


def _run_one(jobs: JobStore) -> str:
    claim = jobs.claim(jobs.queued_ids(limit=1)[0], "worker", NOW, LEASE)
    assert claim is not None
    jobs.succeed(claim.job_id, claim.epoch, f"jobs/{claim.job_id}/manifest.json", NOW)
    return claim.tenant
