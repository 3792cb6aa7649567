"""Runs that take too long, say nothing, or want more memory than there is: real processes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.jobs.states import State
from core.jobs.views import Job
from tests.faults.farm import Farm, await_gone, family, runner_of, wait_for

MB = 1 << 20


def outcomes(job: Job) -> list[tuple[int, str | None]]:
    assert job.attempts is not None
    return [(attempt.number, attempt.outcome) for attempt in job.attempts]


@pytest.mark.parametrize("fate", ["none", "deaf"])
def test_a_phase_that_takes_too_long_ends_the_job_and_its_processes(farm: Farm, fate: str) -> None:
    farm.settings |= {"PHASE_TIMEOUTS": '{"pruning": 1.5}'}
    worker = farm.start_worker()
    job_id = farm.post(seconds="40" if fate == "none" else "1", fate=fate, peak="1000000000")
    farm.await_progress(job_id, 0.04)
    run = family(runner_of(worker).pid)
    job = farm.await_end(job_id)
    assert (job.state, outcomes(job)) == (State.FAILED, [(1, "timed-out")]), farm.tail()
    assert job.error is not None
    assert job.error.code == "phase-timeout"
    assert "pruning took longer than 1.5 s" in job.error.message
    assert "predicted 60 s" in job.error.message
    await_gone(run)
    wait_for(lambda: farm.keys(job_id) == [], "sweep")
    assert not list((farm.folder / "work").glob("secateur-run-*"))
    assert len(family(worker.pid)) == 2


def test_a_silent_run_is_a_lost_attempt(farm: Farm) -> None:
    farm.settings |= {"STALL_SECONDS": "2", "MAX_ATTEMPTS": "2"}
    farm.start_worker()
    job = farm.await_end(farm.post(fate="silent"))
    assert (job.state, outcomes(job)) == (State.FAILED, [(1, "stalled"), (2, "stalled")])
    assert job.error is not None
    assert job.error.code == "worker-lost"
    assert "said nothing for 2 s" in job.error.message


def test_memory_that_ran_out_is_tried_with_less_until_there_is_no_less(farm: Farm) -> None:
    farm.start_worker()
    job_id = farm.post(fate="out-of-memory", peak="8000000000", least="3000000000")
    job = farm.await_end(job_id)
    assert outcomes(job) == [(n, "out-of-memory") for n in (1, 2, 3)], farm.tail()
    assert job.attempts is not None
    assert "predicted 8.00 GB" in job.attempts[0].reason
    assert "predicted 4.00 GB" in job.attempts[1].reason
    assert job.error is not None
    assert job.error.code == "out-of-memory"
    assert "predicted 3.15 GB at its peak, of a budget of 3.15 GB" in job.error.message
    assert any("MemoryError" in line for line in job.error.log)
    assert job.plan is not None
    assert (job.plan.peak_bytes, job.plan.budget_bytes) == (3_150_000_000, 3_150_000_000)
    planned = [e.data["plan"]["peak_bytes"] for e in farm.events(job_id) if "plan" in e.data]
    assert planned == [8_000_000_000, 4_000_000_000, 3_150_000_000]


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of 300 MB, where this machine lets us make one."""
    memory = Path("/sys/fs/cgroup/memory")
    made = memory / f"secateur-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / "memory.limit_in_bytes").write_text(str(300 * MB))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield made
    for process in (made / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (memory / "cgroup.procs").write_text(process)
    made.rmdir()


def test_the_kernel_takes_the_run_and_the_worker_says_so(farm: Farm, group: Path) -> None:
    worker = farm.start_worker()
    wait_for(lambda: len(family(worker.pid)) == 2, "the worker's pool", farm.tail)
    for process in family(worker.pid):
        (group / "cgroup.procs").write_text(str(process.pid))
    # A third may be there for a moment: whoever asks the driver for its GPUs.
    workers = family(worker.pid)[:2]
    job_id = farm.post(fate="greedy", peak="90000000", least="85000000")
    job = farm.await_end(job_id)
    assert outcomes(job) == [(1, "out-of-memory"), (2, "out-of-memory")], farm.tail()
    assert job.error is not None
    assert job.error.code == "out-of-memory"
    assert "the kernel killed the run because memory ran out; it had held 0." in job.error.message
    assert "the plan had predicted 0.09 GB" in job.error.message
    assert "taking all there is, password=***" in job.error.log
    assert family(worker.pid)[:2] == workers
    assert farm.await_end(farm.post()).state is State.SUCCEEDED
