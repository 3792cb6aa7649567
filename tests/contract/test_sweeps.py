"""What every database must do for sweeps: all jobs or none, and a state that follows from theirs."""

from datetime import timedelta
from typing import Any

import pytest

from core.errors import JobNotFound, WrongState
from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs.audit import Actor, AuditFilter
from core.jobs.idempotency import Once
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.sweep_views import Sweep, state_of
from core.jobs.sweeps import PostedSweep
from core.jobs.views import Failure
from core.limit_errors import QueueFull
from core.quotas import NO_QUOTAS, Quota, Quotas
from core.sweep_errors import SweepNotFound
from core.sweep_spec import Planned, parse_sweep, planned
from tests.contract.jobs import LEASE, NOW, at_once, claimed, get, later

WHY = Failure(code="bad-data", message="why")


def plan(cells: int = 3, **more: Any) -> Planned:
    base = {"model": {"source": "example:x"}, "sparsity": 0.5}
    grid = {"calibration.seed": list(range(cells))}
    return planned(parse_sweep({"base": base, "grid": grid, **more}))


def made(jobs: JobStore, cells: int = 3, tenant: str = "default", **more: Any) -> Sweep:
    return jobs.create_sweep(tenant, plan(cells), NOW, **more).sweep


def ids(sweep: Sweep) -> list[str]:
    assert sweep.cells is not None
    return [cell.job for cell in sweep.cells if cell.job is not None]


def succeed(jobs: JobStore, job_id: str) -> None:
    claim = claimed(jobs, job_id)
    jobs.succeed(job_id, claim.epoch, f"jobs/{job_id}/1/manifest.json", NOW)


def test_a_sweep_makes_its_jobs_in_order(jobs: JobStore) -> None:
    sweep = made(jobs)
    assert (sweep.state, sweep.children, sweep.counts.queued) == ("running", 3, 3)
    assert jobs.sweep("default", sweep.id) == sweep
    listed = jobs.list("default", sweep=sweep.id).data
    assert [job.id for job in listed] == ids(sweep)[::-1]  # lists begin with the newest
    assert [job.spec["calibration"]["seed"] for job in listed] == [2, 1, 0]
    assert {job.sweep_id for job in listed} == {sweep.id}
    assert jobs.queued_ids() == ids(sweep)
    assert claimed(jobs, ids(sweep)[0]).sweep_id == sweep.id
    assert jobs.list("default", sweep="swp_0").data == []
    assert jobs.list("other", sweep=sweep.id).data == []


def test_a_quota_counts_all_its_jobs_and_admits_all_or_none(jobs: JobStore) -> None:
    limits = Quotas({"a": Quota(queued_jobs=4)})
    made(jobs, 3, "a", quotas=limits)
    with pytest.raises(QueueFull, match="has 3 queued jobs, and may have 4; 2 more"):
        made(jobs, 2, "a", quotas=limits)
    assert len(jobs.list("a").data) == 3
    assert len(jobs.sweeps("a").data) == 1
    made(jobs, 1, "a", quotas=limits)
    assert jobs.usage("a", NO_QUOTAS).usage.queued_jobs == 4


def test_of_many_at_once_as_many_get_in_as_may(jobs: JobStore) -> None:
    limits = Quotas({"a": Quota(queued_jobs=7)})
    found = at_once(6, lambda _: made(jobs, 2, "a", quotas=limits))
    assert [type(each) for each in found].count(Sweep) == 3
    assert jobs.usage("a", NO_QUOTAS).usage.queued_jobs == 6


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, "empty"),
        ({State.QUEUED: 1, State.FAILED: 1}, "running"),
        ({State.CANCELLING: 1, State.CANCELLED: 2}, "running"),
        ({State.SUCCEEDED: 2}, "succeeded"),
        ({State.FAILED: 2}, "failed"),
        ({State.CANCELLED: 1}, "cancelled"),
        ({State.SUCCEEDED: 1, State.CANCELLED: 1, State.QUEUED: 0}, "mixed"),
    ],
)
def test_its_state_is_a_table(counts: dict[State, int], state: str) -> None:
    assert state_of(counts) == state


def test_a_failure_stops_nobody_and_a_retry_goes_on(jobs: JobStore) -> None:
    sweep = made(jobs)
    first, second, third = ids(sweep)
    jobs.fail(first, claimed(jobs, first).epoch, WHY, later(1))
    assert jobs.sweep("default", sweep.id).state == "running"
    succeed(jobs, second)
    succeed(jobs, third)
    ended = jobs.sweep("default", sweep.id)
    assert (ended.state, ended.counts.succeeded, ended.counts.failed) == ("mixed", 2, 1)
    assert ended.finished_at == later(1)
    assert [cell.state for cell in ended.cells or ()] == [
        State.FAILED,
        State.SUCCEEDED,
        State.SUCCEEDED,
    ]
    jobs.retry("default", first, later(2))
    again = jobs.sweep("default", sweep.id)
    assert (again.state, again.finished_at) == ("running", None)
    succeed(jobs, first)
    assert jobs.sweep("default", sweep.id).state == "succeeded"


class TestCancelling:
    def test_who_waits_is_over_and_who_runs_is_asked_to_stop(self, jobs: JobStore) -> None:
        sweep = made(jobs)
        done, running, waiting = ids(sweep)
        succeed(jobs, done)
        epoch = claimed(jobs, running).epoch
        found = jobs.cancel_sweep("default", sweep.id, later(1))
        assert found.state == "running"
        states = [State.SUCCEEDED, State.CANCELLING, State.CANCELLED]
        assert [cell.state for cell in found.cells or ()] == states
        assert jobs.heartbeat(running, epoch, later(2), LEASE) is State.CANCELLING
        jobs.cancel_sweep("default", sweep.id, later(2))  # repeating does no harm
        assert jobs.succeed(running, epoch, "key", later(3)) is State.CANCELLED
        assert jobs.sweep("default", sweep.id).state == "mixed"
        with pytest.raises(WrongState, match="has ended"):
            jobs.cancel_sweep("default", sweep.id, later(4))
        assert get(jobs, waiting).version == 2

    def test_meanwhile_workers_claim_and_end_and_no_job_is_left(self, jobs: JobStore) -> None:
        sweep = made(jobs, 12)
        names = ids(sweep)

        def act(number: int) -> object:
            if number == 0:
                return jobs.cancel_sweep("default", sweep.id, later(1))
            job_id = names[number]
            claim = jobs.claim(job_id, "w", NOW, LEASE)
            return claim and jobs.fail(job_id, claim.epoch, WHY, later(1))

        found = at_once(6, act)
        assert isinstance(found[0], Sweep), found
        assert {type(each) for each in found[1:]} <= {State, type(None)}
        ended = jobs.sweep("default", sweep.id)
        assert ended.state in ("cancelled", "mixed")
        assert ended.counts.queued + ended.counts.running + ended.counts.cancelling == 0


class TestDeleting:
    def test_only_what_has_ended_goes_and_all_of_it(self, jobs: JobStore) -> None:
        sweep, other = made(jobs), made(jobs, 1)
        with pytest.raises(WrongState, match="3 of its jobs have not ended"):
            jobs.bury_sweep("default", sweep.id, NOW)
        jobs.cancel_sweep("default", sweep.id, NOW)
        assert sorted(jobs.bury_sweep("default", sweep.id, NOW)) == sorted(ids(sweep))
        with pytest.raises(SweepNotFound):
            jobs.sweep("default", sweep.id)
        with pytest.raises(JobNotFound):
            get(jobs, ids(sweep)[0])
        assert [each.id for each in jobs.sweeps("default").data] == [other.id]
        assert jobs.buried_sweeps() == [sweep.id]
        assert sorted(jobs.buried()) == sorted(ids(sweep))
        jobs.erase_sweep(other.id)  # which is not buried
        jobs.erase_sweep(sweep.id)
        assert jobs.buried_sweeps() == []
        assert jobs.sweep("default", other.id).state == "running"

    def test_a_job_that_went_alone_is_counted(self, jobs: JobStore) -> None:
        sweep = made(jobs, 2)
        for job_id in ids(sweep):
            jobs.cancel("default", job_id, NOW)
            jobs.bury("default", job_id, NOW)
        found = jobs.sweep("default", sweep.id)
        assert (found.state, found.counts.deleted, ids(found)) == ("empty", 2, [])
        jobs.bury_sweep("default", sweep.id, NOW)


class TestOnce:
    def test_a_repetition_is_the_same_sweep(self, jobs: JobStore) -> None:
        once = Once("key", "a" * 64)
        first = jobs.create_sweep("default", plan(), NOW, once=once)
        assert not first.replayed
        again = jobs.create_sweep("default", plan(), later(60), once=once)
        assert (again.replayed, again.sweep.id) == (True, first.sweep.id)
        with pytest.raises(IdempotencyKeyReused):
            jobs.create_sweep("default", plan(), later(60), once=Once("key", "b" * 64))
        assert not jobs.create_sweep("other", plan(), NOW, once=once).replayed
        day = NOW + timedelta(hours=24)
        assert not jobs.create_sweep("default", plan(), day, once=once).replayed
        assert len(jobs.sweeps("default").data) == 2

    def test_a_deleted_sweeps_key_is_free(self, jobs: JobStore) -> None:
        once = Once("key", "a" * 64)
        first = jobs.create_sweep("default", plan(), NOW, once=once).sweep
        jobs.cancel_sweep("default", first.id, NOW)
        jobs.bury_sweep("default", first.id, NOW)
        assert not jobs.create_sweep("default", plan(), NOW, once=once).replayed

    def test_of_many_at_once_one_makes_it(self, jobs: JobStore) -> None:
        once = Once("key", "a" * 64)
        found = at_once(6, lambda _: jobs.create_sweep("default", plan(), NOW, once=once))
        posted = [each for each in found if isinstance(each, PostedSweep)]
        assert all(isinstance(each, PostedSweep | IdempotencyKeyInFlight) for each in found), found
        assert [each.replayed for each in posted].count(False) == 1
        assert len({each.sweep.id for each in posted}) == 1
        assert len(jobs.list("default").data) == 3


def test_pages_follow_one_another_and_hold_ones_own(jobs: JobStore) -> None:
    made(jobs, 1, "other")
    mine = [jobs.create_sweep("default", plan(1), later(n)).sweep.id for n in range(5)]
    seen, after = [], None
    while True:
        page = jobs.sweeps("default", limit=2, after=after)
        seen += [each.id for each in page.data]
        assert all(each.cells is None for each in page.data)
        if (after := page.next) is None:
            break
    assert seen == mine[::-1]
    for deed in (
        lambda: jobs.sweep("other", mine[0]),
        lambda: jobs.cancel_sweep("other", mine[0], NOW),
        lambda: jobs.bury_sweep("other", mine[0], NOW),
        lambda: jobs.sweep_results("other", mine[0]),
    ):
        with pytest.raises(SweepNotFound):
            deed()


def test_a_signature_is_another_one_after_every_move(jobs: JobStore) -> None:
    sweep = made(jobs, 2)
    first, second = ids(sweep)
    seen = [jobs.sweep_signatures([sweep.id, "swp_none"])]
    assert list(seen[0]) == [sweep.id]
    epoch = claimed(jobs, first).epoch
    seen.append(jobs.sweep_signatures([sweep.id]))
    jobs.fail(first, epoch, WHY, NOW)
    seen.append(jobs.sweep_signatures([sweep.id]))
    jobs.cancel("default", second, NOW)
    seen.append(jobs.sweep_signatures([sweep.id]))
    jobs.bury("default", second, NOW)
    seen.append(jobs.sweep_signatures([sweep.id]))
    assert len({each[sweep.id] for each in seen}) == len(seen)
    jobs.bury_sweep("default", sweep.id, NOW)
    assert jobs.sweep_signatures([sweep.id]) == {}


def test_what_is_compared_is_told_in_order(jobs: JobStore) -> None:
    sweep = made(jobs)
    first, second, _ = ids(sweep)
    succeed(jobs, second)
    jobs.fail(first, claimed(jobs, first).epoch, WHY, NOW)
    found = jobs.sweep_results("default", sweep.id)
    assert [each.number for each in found] == [1, 2, 3]
    assert [each.error for each in found] == ["bad-data", None, None]
    assert found[1].manifest_key == f"jobs/{second}/1/manifest.json"
    jobs.expire(second, NOW)
    assert jobs.sweep_results("default", sweep.id)[1].expired


def test_its_own_objects_are_of_use_until_no_job_has_a_result(jobs: JobStore) -> None:
    sweep = made(jobs, 1)
    (job_id,) = ids(sweep)

    def alive(*without: str) -> bool:
        return jobs.sweep_standings([sweep.id, "swp_none"], without)[sweep.id].alive

    assert alive()
    succeed(jobs, job_id)
    assert alive()
    assert not alive(job_id)
    jobs.expire(job_id, NOW)
    assert not alive()
    assert "swp_none" not in jobs.sweep_standings(["swp_none"])


def test_each_deed_is_one_line(jobs: JobStore) -> None:
    by = Actor("default", "key_0123456789ab")
    sweep = made(jobs, 2, by=by)
    jobs.cancel_sweep("default", sweep.id, NOW, by=by)
    jobs.bury_sweep("default", sweep.id, NOW, by=by)
    lines = jobs.audit(AuditFilter()).data
    assert sorted((line.action, line.target, tuple(line.detail.items())) for line in lines) == [
        ("sweep.cancel", sweep.id, (("jobs", 2),)),
        ("sweep.delete", sweep.id, (("jobs", 2),)),
        ("sweep.submit", sweep.id, (("cells", 2),)),
    ]
