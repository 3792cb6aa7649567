"""The engine itself under the worker: killed in the middle, it starts again and delivers."""

from pathlib import Path

import psutil

from core.jobs.states import State
from core.store import manifest
from tests.checkpoints import tiny_llada
from tests.faults.farm import Farm, runner_of


def test_a_real_run_is_killed_and_the_next_one_delivers(farm: Farm, tmp_path: Path) -> None:
    roots = tmp_path / "models"
    roots.mkdir()
    source = f"file://{tiny_llada(roots / 'tiny')}"
    farm.settings |= {"MODEL_ROOTS": str(roots), "RUNNER_ENTRY": "", "THREADS": "1"}
    worker = farm.start_worker()
    job_id = farm.post_spec(
        {
            "model": {"source": source},
            "method": "sink-wanda",
            "sparsity": 0.5,
            "calibration": {"samples": 16, "sequence_length": 32},
            "evaluation": {"samples": 8, "speed": False},
        }
    )
    farm.await_progress(job_id, 0.01)
    runner: psutil.Process = runner_of(worker)
    runner.kill()
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    assert (job.attempt, job.epoch) == (2, 2)
    checked = manifest.verify(farm.folder / "store" / "objects" / "jobs" / job_id / "2")
    names = {file.name for file in checked.files}
    assert {"report/report.json", "report/report.html", "model/config.json"} <= names
    assert not list((farm.folder / "work").iterdir())
