"""kill -9 anything in the middle of a job: it still ends once, with one manifest and all events."""

from core.jobs.states import State
from core.store import manifest
from tests.faults.farm import (
    DEADLINE,
    WORKER,
    Farm,
    await_gone,
    family,
    runner_of,
    stop,
    wait_for,
)


def assert_succeeded_once(farm: Farm, job_id: str) -> None:
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    key = farm.jobs.manifest_key("default", job_id)
    assert key == f"jobs/{job_id}/{job.epoch}/manifest.json"
    # Losing runs' objects go with the next scan.
    wait_for(
        lambda: all(k.startswith(f"jobs/{job_id}/{job.epoch}/") for k in farm.keys(job_id)), "sweep"
    )
    files = manifest.read(farm.store.read_bytes(key)).files
    assert sorted(f"jobs/{job_id}/{job.epoch}/{f.name}" for f in files) == [
        k for k in farm.keys(job_id) if k != key
    ]
    assert_history_is_whole(farm, job_id)


def assert_history_is_whole(farm: Farm, job_id: str) -> None:
    events = farm.events(job_id)
    assert [e.id for e in events] == list(range(1, len(events) + 1))
    ends = [e for e in events if e.data.get("state") in ("succeeded", "failed", "cancelled")]
    assert ends == events[-1:]


def test_a_job_runs_whose_doorbell_was_lost(staffed: Farm) -> None:
    job_id = staffed.post()
    assert_succeeded_once(staffed, job_id)
    assert staffed.get(job_id).attempt == 1
    phases = [e.data["phase"] for e in staffed.events(job_id) if e.type == "progress"]
    assert list(dict.fromkeys(phases)) == [
        "fetching", "analysing", "pruning", "evaluating", "publishing",
    ]  # fmt: skip


def test_the_runner_is_killed(staffed: Farm) -> None:
    job_id = staffed.post(seconds="4")
    staffed.await_progress(job_id)
    runner_of(staffed.workers[0]).kill()
    assert_succeeded_once(staffed, job_id)
    assert staffed.get(job_id).attempt == 2
    assert any("SIGKILL" in e.message for e in staffed.events(job_id))


def test_the_whole_worker_is_killed(farm: Farm) -> None:
    worker = farm.start_worker()
    job_id = farm.post(seconds="2")
    farm.await_progress(job_id)
    processes = family(worker.pid)
    assert len(processes) == 3
    for process in processes[:2]:  # Celery's main process and the supervisor; not the runner
        process.kill()
    worker.wait()
    await_gone(processes)
    assert list((farm.folder / "work").glob("secateur-run-*"))
    farm.start_worker()
    assert_succeeded_once(farm, job_id)
    assert farm.get(job_id).attempt == 2
    assert not list((farm.folder / "work").glob("secateur-run-*"))


def test_only_the_main_process_is_killed(farm: Farm) -> None:
    worker = farm.start_worker()
    job_id = farm.post(seconds="2")
    farm.await_progress(job_id)
    processes = family(worker.pid)
    worker.kill()
    worker.wait()
    await_gone(processes)
    farm.start_worker()
    assert_succeeded_once(farm, job_id)


def test_only_the_supervisor_is_killed(farm: Farm) -> None:
    worker = farm.start_worker()
    job_id = farm.post(seconds="2")
    farm.await_progress(job_id)
    _, supervisor, _ = family(worker.pid)
    supervisor.kill()
    assert_succeeded_once(farm, job_id)
    assert worker.poll() is None


def test_the_broker_is_killed(farm: Farm) -> None:
    farm.start_worker()
    running = farm.post(seconds="2")
    farm.await_progress(running)
    waiting = farm.post()
    farm.server.kill()
    farm.server.wait()
    assert_succeeded_once(farm, running)
    assert farm.get(running).attempt == 1
    farm.restart_broker()
    # Celery may come back from such a cut hearing nothing; then its worker leaves to be replaced.
    with farm.kept_staffed():
        assert_succeeded_once(farm, waiting)


DEAF = f"""
from celery import signals
from workers import hearing

@signals.worker_ready.connect
def stop_listening(sender, **_):
    sender.task_consumer.cancel()

hearing.DEAF_SECONDS = 1
{WORKER}
"""


def test_a_worker_that_hears_nothing_leaves_for_one_that_does(farm: Farm) -> None:
    farm.program = ["-c", DEAF]
    deaf = farm.start_worker()
    job_id = farm.post()
    assert deaf.wait(DEADLINE) == 1
    assert "hears none" in farm.tail()
    assert farm.get(job_id).epoch == 0
    farm.program = ["-c", WORKER]
    farm.start_worker()
    assert_succeeded_once(farm, job_id)


def test_a_stale_worker_publishes_nothing(farm: Farm) -> None:
    stale = farm.start_worker()
    job_id = farm.post(seconds="2")
    farm.await_progress(job_id)
    frozen = farm.freeze(stale)
    farm.start_worker()
    wait_for(lambda: farm.get(job_id).epoch == 2, "another worker", farm.tail)
    for process in reversed(frozen):  # the runner first: it may finish before it is killed
        process.resume()
    assert_succeeded_once(farm, job_id)
    assert farm.get(job_id).epoch == 2
    wait_for(lambda: all("/2/" in key for key in farm.keys(job_id)), "no object of the stale run")
    assert farm.store.read_bytes(f"jobs/{job_id}/2/epoch.txt") == b"2\n"


def test_a_stale_worker_that_wakes_after_the_end_publishes_nothing(farm: Farm) -> None:
    stale = farm.start_worker()
    job_id = farm.post(seconds="1")
    farm.await_progress(job_id)
    frozen = farm.freeze(stale)
    farm.start_worker()
    assert_succeeded_once(farm, job_id)
    before = farm.get(job_id)
    for process in reversed(frozen):
        process.resume()
    await_gone(frozen[2:])
    assert stop(stale) == 0
    assert farm.get(job_id) == before
    assert all("/2/" in key for key in farm.keys(job_id))


def test_doorbells_may_ring_twice(farm: Farm) -> None:
    bell = farm.bell()
    job_id = farm.post()
    for _ in range(3):
        bell.ring(job_id)
    bell.ring("job_that_never_was")
    farm.start_worker()
    farm.start_worker()
    assert_succeeded_once(farm, job_id)
    wait_for(lambda: bell.waiting() == 0, "the doorbells to be answered")
    assert farm.get(job_id).epoch == 1
