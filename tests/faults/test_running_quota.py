"""A tenant at its limit of running jobs, with real workers: others pass by, and its turn comes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.states import State
from tests.faults.farm import Farm, wait_for


@pytest.fixture
def slow_reaper(tmp_path: Path) -> Iterator[Farm]:
    """Reapers look once and then not again: only doorbells call."""
    farm = Farm(tmp_path)
    farm.settings |= {
        "QUOTAS": json.dumps({"default": {"running_jobs": 1}}),
        "SCAN_SECONDS": "600",
    }
    yield farm
    farm.close()


def test_the_next_job_is_called_for_when_one_ends(slow_reaper: Farm) -> None:
    farm = slow_reaper
    for _ in range(2):
        farm.start_worker()
    bell = farm.bell()
    first = farm.post(seconds="6")
    bell.ring(first)
    farm.await_state(first, State.RUNNING)
    rest = [farm.post(seconds="0.2") for _ in range(2)]
    for job_id in rest:
        bell.ring(job_id)
    # The other worker answers both, and may start neither.
    wait_for(lambda: farm.tail().count("nothing to do") == 2, "two answers", farm.tail)
    assert bell.waiting() == 0
    assert [farm.get(each).state for each in (first, *rest)] == ["running", "queued", "queued"]
    for job_id in (first, *rest):
        assert farm.await_end(job_id).state is State.SUCCEEDED
    started = sorted(farm.get(each).started_at for each in rest)  # type: ignore[type-var]
    ended = farm.get(first).finished_at
    assert started[0] is not None
    assert ended is not None
    assert started[0] >= ended
