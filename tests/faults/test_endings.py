"""Cancelled, told to leave, or failed: the end is the right one, and nothing is left behind."""

from datetime import UTC, datetime

import pytest

from core.jobs.states import State
from tests.faults.farm import Farm, await_gone, family, runner_of, stop, wait_for


@pytest.mark.parametrize("fate", ["none", "deaf"])
def test_cancelling_a_running_job_ends_its_processes(staffed: Farm, fate: str) -> None:
    worker = staffed.workers[0]
    job_id = staffed.post(seconds="20" if fate == "none" else "0.1", fate=fate)
    staffed.await_progress(job_id, 0.04 if fate == "none" else 0.4)
    if fate == "deaf":
        wait_for(lambda: len(family(worker.pid)) == 4, "the runner's own child", staffed.tail)
    run = family(runner_of(worker).pid)
    assert staffed.jobs.cancel("default", job_id, datetime.now(UTC)).state is State.CANCELLING
    assert staffed.await_end(job_id).state is State.CANCELLED
    await_gone(run)
    assert staffed.jobs.manifest_key("default", job_id) is None
    wait_for(lambda: staffed.keys(job_id) == [], "sweep")
    assert not list((staffed.folder / "work").glob("secateur-run-*"))
    assert len(family(worker.pid)) == 2


def test_a_worker_told_to_leave_gives_its_job_back(farm: Farm) -> None:
    worker = farm.start_worker()
    job_id = farm.post(seconds="2")
    farm.await_progress(job_id)
    processes = family(worker.pid)
    assert stop(worker) == 0
    await_gone(processes)
    job = farm.get(job_id)
    assert (job.state, job.attempt, job.progress) == (State.QUEUED, 1, 0.0), farm.tail()
    farm.start_worker()
    assert farm.await_end(job_id).state is State.SUCCEEDED
    assert farm.get(job_id).attempt == 1
    wait_for(lambda: all("/2/" in key for key in farm.keys(job_id)), "sweep")


@pytest.mark.parametrize(
    ("fate", "code", "words"),
    [
        ("no-memory", "out-of-memory", "3 GB"),
        ("full-disk", "disk-full", "/scratch/file"),
        ("defect", "internal", "ZeroDivisionError: a defect in two lines"),
    ],
)
def test_a_run_that_fails_says_why(staffed: Farm, fate: str, code: str, words: str) -> None:
    job = staffed.await_end(staffed.post(fate=fate))
    assert job.state is State.FAILED
    assert job.error is not None
    assert (job.error.code, job.attempt) == (code, 1)
    assert words in job.error.message
    assert job.error.remedy
    wait_for(lambda: staffed.keys(job.id) == [], "sweep")


@pytest.mark.parametrize("fate", ["noisy", "env"])
def test_a_run_cannot_reach_what_is_not_its_own(staffed: Farm, fate: str) -> None:
    job = staffed.await_end(staffed.post(fate=fate))
    assert job.state is State.SUCCEEDED, job.error
    assert staffed.jobs.manifest_key("default", job.id) == f"jobs/{job.id}/1/manifest.json"


def test_priority_decides_what_runs_next(staffed: Farm) -> None:
    staffed.await_progress(staffed.post(seconds="1"))
    first, urgent = staffed.post(), staffed.post(priority=7)
    first_start = staffed.await_end(first).started_at
    urgent_start = staffed.await_end(urgent).started_at
    assert first_start is not None
    assert urgent_start is not None
    assert urgent_start < first_start


def test_a_runner_that_always_dies_fails_with_a_remedy(staffed: Farm) -> None:
    job = staffed.await_end(staffed.post(fate="killed"))
    assert (job.state, job.attempt) == (State.FAILED, 3)
    assert job.error is not None
    assert job.error.code == "worker-lost"
    assert "SIGKILL" in job.error.message
    assert "SECATEUR_MEMORY_BUDGET" in job.error.remedy


def test_a_tracker_that_is_away_is_a_line_of_the_history(farm: Farm) -> None:
    away = {"RUNNER_ENTRY": "tests.results:work", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    farm.settings |= away
    farm.start_worker()
    job_id = farm.post()
    assert farm.await_end(job_id).state is State.SUCCEEDED, farm.tail()
    events = farm.events(job_id)
    (warning,) = (event for event in events if event.level == "warning")
    assert "not logged to MLflow" in warning.message
    assert events[-1].data["state"] == State.SUCCEEDED
