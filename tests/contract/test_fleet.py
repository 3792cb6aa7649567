"""Workers say that they live; what they do is shown to those whose it is."""

from core.jobs.presence import Gpu, Presence, Worker
from core.jobs.store import JobStore
from tests.contract.jobs import LEASE, NOW, later, spec

GPUS = (Gpu(name="NVIDIA H100", memory_bytes=80 * 2**30),)


def worker(name: str) -> Presence:
    return Presence(
        id=name, host="host", device="cuda", gpus=GPUS, versions={"secateur": "1"}, started_at=NOW
    )


def states(jobs: JobStore, seconds: float) -> dict[str, str]:
    return {each.id: each.state for each in jobs.workers("a", later(seconds))}


def test_a_worker_is_known_by_what_it_says(jobs: JobStore) -> None:
    jobs.present(worker("h:1"), later(5), 15.0)
    assert jobs.workers("a", later(6)) == [
        Worker(
            **worker("h:1").model_dump(), last_seen=later(5), state="online", busy=False, job=None
        )
    ]


def test_silence_makes_it_stale_and_a_day_of_it_forgotten(jobs: JobStore) -> None:
    jobs.present(worker("h:1"), NOW, 15.0)
    jobs.present(worker("h:2"), NOW, 60.0)
    assert states(jobs, 60) == {"h:1": "online", "h:2": "online"}
    assert states(jobs, 61) == {"h:1": "stale", "h:2": "online"}
    jobs.present(worker("h:1"), later(62), 15.0)
    assert states(jobs, 63) == {"h:1": "online", "h:2": "online"}
    jobs.present(worker("h:1"), later(86_401), 15.0)
    assert states(jobs, 86_401) == {"h:1": "online"}


def test_a_worker_that_is_started_anew_says_so(jobs: JobStore) -> None:
    jobs.present(worker("h:1"), NOW, 15.0)
    again = worker("h:1").model_copy(update={"started_at": later(99), "gpus": ()})
    jobs.present(again, later(100), 15.0)
    (found,) = jobs.workers("a", later(100))
    assert (found.started_at, found.gpus) == (later(99), ())


def test_of_other_tenants_jobs_only_that_there_is_one(jobs: JobStore) -> None:
    for name in ("h:1", "h:2", "h:3"):
        jobs.present(worker(name), NOW, 15.0)
    mine = jobs.create("a", spec(), NOW).id
    theirs = jobs.create("b", spec(), NOW).id
    assert jobs.claim(mine, "h:1", NOW, LEASE)
    assert jobs.claim(theirs, "h:2", NOW, LEASE)

    def seen(tenant: str) -> list[tuple[bool, str | None]]:
        return [(each.busy, each.job) for each in jobs.workers(tenant, NOW)]

    assert seen("a") == [(True, mine), (True, None), (False, None)]
    assert seen("b") == [(True, None), (True, theirs), (False, None)]
    jobs.cancel("a", mine, NOW)
    assert seen("a")[0] == (True, mine)
    jobs.succeed(mine, 1, "key", NOW)
    assert seen("a")[0] == (False, None)
