"""kill -9 in the middle of pruning: the next attempt goes on there, and delivers the same bytes."""

import json
import os
import signal
from pathlib import Path

import pytest

from core.jobs.states import State
from core.report.schema import Report
from core.store import manifest
from core.store.manifest import Manifest
from tests.checkpoints import tiny_llada
from tests.faults.farm import Farm, await_gone, family, runner_of, stop, wait_for

BLOCKS = 4


@pytest.fixture
def farm(farm: Farm) -> Farm:
    roots = farm.folder / "models"
    tiny_llada(roots / "tiny", layers=BLOCKS, shards=2)
    farm.settings |= {
        "MODEL_ROOTS": str(roots),
        "RUNNER_ENTRY": "tests.faults.pausing:execute",
        "THREADS": "1",
    }
    return farm


def post(farm: Farm, method: str, **metadata: str) -> str:
    source = Path(__file__).parents[1] / "verses.txt"
    (farm.folder / "models" / "verses.txt").write_bytes(source.read_bytes())
    return farm.post_spec(
        {
            "model": {"source": f"file://{farm.folder}/models/tiny"},
            "method": method,
            "sparsity": 0.5,
            "recipe": {"allocation": "sensitivity"},
            "calibration": {
                "source": f"file://{farm.folder}/models/verses.txt",
                "samples": 8,
                "sequence_length": 32,
            },
            "evaluation": {"samples": 4, "speed": False},
            "metadata": metadata,
        }
    )


def await_block(farm: Farm, job_id: str, epoch: int) -> None:
    """Until the run has as many blocks in its index as its epoch's number, its own or not."""
    place = farm.folder / "store/objects/jobs" / job_id / str(epoch) / "resume/index.json"

    def there() -> bool:
        entries = json.loads(place.read_text())["entries"] if place.exists() else []
        return sum("-block" in entry["name"] for entry in entries) >= epoch

    wait_for(there, f"block {epoch}", farm.tail)


def result(farm: Farm, job_id: str) -> tuple[Manifest, Report]:
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    folder = farm.folder / "store/objects/jobs" / job_id / str(job.epoch)
    report = Report.model_validate_json((folder / "report/report.json").read_bytes())
    return manifest.verify(folder), report


def digests(found: Manifest) -> dict[str, str]:
    """Of all that does not depend on when and how fast it was made."""
    files = (f for f in found.files if not f.name.startswith(("report/report.", "report/plots")))
    return {file.name: file.sha256 for file in files}


def messages(farm: Farm, job_id: str) -> list[str]:
    return [event.message for event in farm.events(job_id)]


def assert_nothing_is_left_but_the_result(farm: Farm, job_id: str) -> None:
    job = farm.get(job_id)
    listed, _ = result(farm, job_id)
    prefix = f"jobs/{job_id}/{job.epoch}/"
    expected = sorted(
        [f"{prefix}{file.name}" for file in listed.files] + [f"{prefix}manifest.json"]
    )
    wait_for(lambda: sorted(farm.keys(job_id)) == expected, "the sweep", farm.tail)


def timeless(report: Report) -> dict[str, object]:
    """A report without what was measured in seconds and bytes, and what the spec calls the job."""
    left = report.model_dump(exclude={"job", "resumed"})
    for part in ("actual", "plan"):
        for name in ("seconds", "seconds_by_phase", "peak_bytes"):
            left[part].pop(name)
    return left


def assert_progress_begins_where_it_goes_on(farm: Farm, job_id: str, block: int) -> None:
    events = farm.events(job_id)
    told = f"continued at block {block} of {BLOCKS}"
    at = next(event for event in events if event.message.startswith(told))
    first = next(e for e in events if e.id > at.id and e.type == "progress")
    assert first.data["progress"] > 0.5
    assert first.data["eta_seconds"] is None


def test_one_attempt_after_the_other_dies_and_no_block_is_pruned_twice(farm: Farm) -> None:
    """The first loses its runner, the second its machine, the third is asked to leave."""
    worker = farm.start_worker()
    pauses = {f"pause-{epoch}": str(epoch) for epoch in (1, 2, 3)}
    job_id = post(farm, "sink-sparsegpt", **pauses)
    await_block(farm, job_id, 1)
    runner_of(worker).kill()
    await_block(farm, job_id, 2)
    lost = family(worker.pid)
    for process in lost:
        process.kill()
    worker.wait()
    await_gone(lost)
    farm.settings["WORK_DIR"] = f"{farm.folder}/another-disk"
    worker = farm.start_worker()
    await_block(farm, job_id, 3)
    stop(worker)
    farm.start_worker()
    found, report = result(farm, job_id)

    told = messages(farm, job_id)
    # The third was given back and does not count: two runs are called the third attempt.
    for block, attempt in ((2, 1), (3, 2), (4, 3)):
        assert f"continued at block {block} of {BLOCKS} from attempt {attempt}" in told
        assert_progress_begins_where_it_goes_on(farm, job_id, block)
    job = farm.get(job_id)
    assert (job.attempt, job.epoch) == (3, 4)
    assert report.resumed is not None
    assert (report.resumed.at, report.resumed.origin) == (f"block 4 of {BLOCKS}", "attempt 3")
    assert_nothing_is_left_but_the_result(farm, job_id)

    whole, untouched = result(farm, post(farm, "sink-sparsegpt"))
    assert untouched.resumed is None
    assert digests(found) == digests(whole)
    assert timeless(report) == timeless(untouched)


def test_a_stale_worker_takes_nothing_from_the_one_that_goes_on(farm: Farm) -> None:
    """It wakes while the other is at work with what it had kept."""
    stale = farm.start_worker()
    job_id = post(farm, "wanda", **{"pause-1": "1", "pause-2": "2"})
    await_block(farm, job_id, 1)
    frozen = farm.freeze(stale)
    second = farm.start_worker()
    await_block(farm, job_id, 2)
    for process in frozen:
        process.resume()
    await_gone(frozen[2:])
    wait_for(lambda: "epoch 1 was taken back" in farm.tail(), "the stale worker", farm.tail)
    os.kill(runner_of(second).pid, signal.SIGKILL)
    result(farm, job_id)
    assert f"continued at block 3 of {BLOCKS} from attempt 2" in messages(farm, job_id)
    assert_nothing_is_left_but_the_result(farm, job_id)
