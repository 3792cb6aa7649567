"""A process that dies between the steps of a deletion, and sweeps that meet a job's second life."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from core import cleanup
from core.jobs.migrate import migrate
from core.jobs.objects import objects_of
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.removal import finish_removals, remove
from core.retention import Retention
from core.spec import parse_spec
from core.store.local import LocalStore
from tests.faults.farm import Farm, clean_environment, wait_for

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
WHY: Final = Failure(code="bad-data", message="why")
SPEC: Final = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})

# Deletes as the API does, and is killed at the step that it is told.
DYING: Final = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from core.jobs.store import JobStore
from core.removal import remove
from core.store.local import LocalStore

url, folder, job_id, step = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
now = datetime(2026, 1, 1, tzinfo=UTC)
jobs, store = JobStore.open(url), LocalStore(Path(folder))
jobs.bury("default", job_id, now)
if step == "buried":
    die()
if step == "half":
    next(iter(Path(folder, "objects", "jobs", job_id).rglob("weights"))).unlink()
    die()
jobs.erase = die
remove(jobs, store, job_id, now)
"""


class Bench:
    def __init__(self, url: str, folder: Path) -> None:
        migrate(url)
        self.url, self.folder = url, folder
        self.jobs, self.store = JobStore.open(url), LocalStore(folder)

    def failed(self) -> str:
        job_id = self.jobs.create("default", SPEC, NOW).id
        self.run(job_id)
        self.jobs.fail(job_id, 1, WHY, NOW)
        return job_id

    def run(self, job_id: str) -> int:
        """The epoch of a run that has stored something."""
        claim = self.jobs.claim(job_id, "worker", NOW, 60)
        assert claim is not None
        for name in ("model/weights", "manifest.json"):
            self.store.put_bytes(f"{objects_of(job_id, claim.epoch)}/{name}", b"12345")
        return claim.epoch

    def keys(self, job_id: str) -> list[str]:
        return [info.key for info in self.store.list(f"jobs/{job_id}/")]


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database_url, tmp_path / "store")
    yield made
    made.jobs.close()


@pytest.mark.parametrize(("step", "left"), [("buried", 2), ("half", 1), ("objects gone", 0)])
def test_a_deletion_whose_process_was_killed_is_completed(
    bench: Bench, step: str, left: int
) -> None:
    job_id, other = bench.failed(), bench.failed()
    command = [sys.executable, "-c", DYING, bench.url, str(bench.folder), job_id, step]
    died = subprocess.run(command, env=clean_environment(), check=False, timeout=120)
    assert died.returncode == -9
    assert len(bench.keys(job_id)) == left
    assert bench.jobs.buried() == [job_id]
    assert [job.id for job in bench.jobs.list("default").data] == [other]
    for _ in range(2):
        finish_removals(bench.jobs, bench.store, NOW)
    assert bench.keys(job_id) == []
    assert bench.jobs.buried() == []
    assert bench.jobs.standings([job_id, other]).keys() == {other}
    assert len(bench.keys(other)) == 2


def test_gc_completes_it_too_and_a_dry_run_does_not(bench: Bench) -> None:
    job_id = bench.failed()
    bench.jobs.bury("default", job_id, NOW)
    told = cleanup.clean(bench.jobs, bench.store, Retention({}), NOW, unknown=True, dry_run=True)
    assert bench.jobs.buried() == [job_id]
    done = cleanup.clean(bench.jobs, bench.store, Retention({}), NOW, unknown=True, dry_run=False)
    assert (told.removed.objects, done.removed.objects) == (2, 2)
    assert bench.jobs.buried() == []
    assert bench.keys(job_id) == []


class SlowStore(LocalStore):
    """Something happens before it begins to delete."""

    def __init__(self, root: Path, meanwhile: list[object]) -> None:
        super().__init__(root)
        self.meanwhile = meanwhile

    def delete_prefix(self, prefix: str) -> int:
        while self.meanwhile:
            happens = self.meanwhile.pop()
            assert callable(happens)
            happens()
        return super().delete_prefix(prefix)


def test_a_sweep_of_the_first_end_leaves_the_second_run_alone(bench: Bench) -> None:
    """The sweeper has read the job's end; by the time it deletes, the job runs again, or has won."""
    for ends in (False, True):
        job_id = bench.failed()

        def retried(job_id: str = job_id, ends: bool = ends) -> None:
            bench.jobs.retry("default", job_id, NOW)
            epoch = bench.run(job_id)
            if ends:
                key = f"{objects_of(job_id, epoch)}/manifest.json"
                bench.jobs.succeed(job_id, epoch, key, NOW)

        cleanup.sweep(bench.jobs, SlowStore(bench.folder, [retried]))
        second = [f"{objects_of(job_id, 2)}/{n}" for n in ("manifest.json", "model/weights")]
        assert bench.keys(job_id) == second
        # The end that was read is not the one that is: the job is still to be swept.
        assert (job_id in [ended.job_id for ended in bench.jobs.unswept()]) is ends
        cleanup.sweep(bench.jobs, bench.store)
        assert bench.keys(job_id) == second


def test_two_that_complete_a_deletion_do_not_disturb_each_other(bench: Bench) -> None:
    job_id = bench.failed()
    bench.jobs.bury("default", job_id, NOW)

    def other() -> None:
        remove(bench.jobs, bench.store, job_id, NOW)

    remove(bench.jobs, SlowStore(bench.folder, [other]), job_id, NOW)
    assert bench.keys(job_id) == []
    assert bench.jobs.standings([job_id]) == {}


def test_a_worker_runs_a_retried_job_and_clears_up_after_a_deleted_one(staffed: Farm) -> None:
    """Real processes: the doorbell of the retry is lost, and the API died after the first step."""
    job_id = staffed.post(fate="no-memory")
    assert staffed.await_end(job_id).error
    deleted = staffed.post()
    staffed.await_end(deleted)
    assert staffed.keys(deleted)
    staffed.jobs.bury("default", deleted, datetime.now(UTC))
    staffed.jobs.retry("default", job_id, datetime.now(UTC))
    job = staffed.await_end(job_id)
    assert (job.state, job.attempt, job.epoch) == ("failed", 1, 2)
    states = [e.data["state"] for e in staffed.events(job_id) if e.type == "state"]
    assert states == ["queued", "running", "failed"] * 2
    wait_for(lambda: not staffed.jobs.standings([deleted]), "the end of the row", staffed.tail)
    assert staffed.keys(deleted) == []
