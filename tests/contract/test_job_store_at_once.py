"""Many threads at one database: each thing happens once, and nothing is lost."""

from functools import partial

from core.jobs.leases import Claim
from core.jobs.migrate import migrate
from core.jobs.states import State
from core.jobs.store import JobStore
from tests.contract.jobs import LEASE, NOW, at_once, claimed, get, later, queued


def test_migrating_at_once_and_again_is_safe(database_url: str) -> None:
    assert at_once(8, lambda _: migrate(database_url)) == [None] * 8
    migrate(database_url)


def test_only_one_of_many_claims_wins(jobs: JobStore) -> None:
    job_id = queued(jobs)
    won = at_once(8, lambda n: jobs.claim(job_id, f"w{n}", NOW, LEASE))
    assert won.count(None) == 7
    assert get(jobs, job_id).epoch == 1


def test_many_workers_share_a_queue_out(jobs: JobStore) -> None:
    """As supervisors do: whoever loses a job to another tries the next one."""
    ids = {queued(jobs, later(n)) for n in range(24)}

    def work(number: int) -> list[str]:
        mine: list[str] = []
        while waiting := jobs.queued_ids(limit=16):
            mine += [i for i in waiting[:4] if jobs.claim(i, f"w{number}", NOW, LEASE)]
        return mine

    taken = at_once(6, work)
    assert sorted(i for mine in taken if isinstance(mine, list) for i in mine) == sorted(ids)
    assert {get(jobs, i).epoch for i in ids} == {1}


def test_writers_of_one_job_leave_a_gapless_history(jobs: JobStore) -> None:
    job_id = queued(jobs)
    claimed(jobs, job_id)
    before = get(jobs, job_id).version
    told = at_once(8, lambda n: [jobs.log(job_id, 1, f"{n}.{i}", NOW) for i in range(5)])
    assert told == [[None] * 5] * 8
    events = jobs.events("default", job_id).data
    assert [event.id for event in events] == list(range(1, 43))
    assert get(jobs, job_id).version == before + 40


def test_a_cancellation_and_a_claim_at_once_agree(jobs: JobStore) -> None:
    for _ in range(10):
        job_id = queued(jobs)
        claim, cancelled = at_once(2, partial(_claim_or_cancel, jobs, job_id))
        assert (cancelled, isinstance(claim, Claim)) in [
            (State.CANCELLED, False),
            (State.CANCELLING, True),
        ]
        assert get(jobs, job_id).state is cancelled


def _claim_or_cancel(jobs: JobStore, job_id: str, number: int) -> Claim | State | None:
    if number:
        return jobs.cancel("default", job_id, NOW).state
    return jobs.claim(job_id, "worker", NOW, LEASE)
