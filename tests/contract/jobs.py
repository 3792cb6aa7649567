"""Jobs for the contract of the job store, and threads that begin at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from core.jobs.leases import Claim
from core.jobs.store import JobStore
from core.jobs.views import Job
from core.spec import JobSpec, parse_spec

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LEASE = 60.0


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def spec(**more: object) -> JobSpec:
    return parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5, **more})


def queued(jobs: JobStore, now: datetime = NOW, **more: object) -> str:
    return jobs.create("default", spec(**more), now).id


def claimed(jobs: JobStore, job_id: str, now: datetime = NOW) -> Claim:
    claim = jobs.claim(job_id, "worker", now, LEASE)
    assert claim is not None
    return claim


def get(jobs: JobStore, job_id: str) -> Job:
    return jobs.get("default", job_id)


def at_once(count: int, run: Callable[[int], object]) -> list[object]:
    """What `run(0)`, `run(1)`, … return, or raise, when they begin at the same moment."""
    start = threading.Barrier(count)

    def one(number: int) -> object:
        start.wait()
        try:
            return run(number)
        except BaseException as error:  # noqa: BLE001 - told by the test's assertion
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
