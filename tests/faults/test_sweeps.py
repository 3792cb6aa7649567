"""A sweep all the way: posted by the command, carried out by a worker, compared, and cleaned up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.jobs.objects import dense_of
from core.jobs.sweep_views import Sweep
from tests.buckets import CREDENTIALS, new_bucket
from tests.checkpoints import tiny_llada
from tests.commands import Ran, runner
from tests.faults.farm import Farm, wait_for
from tests.served import served

VERSES = Path(__file__).parents[1] / "verses.txt"


@pytest.fixture
def farm(seaweed: str, tmp_path: Path) -> Iterator[Farm]:
    """With the real engine, on a bucket."""
    url = f"s3://{new_bucket(seaweed).bucket}/results?endpoint={seaweed}"
    made = Farm(tmp_path, store_url=url)
    made.settings |= {
        "RUNNER_ENTRY": "tests.faults.plotless:execute",
        "MODEL_ROOTS": str(tmp_path / "models"),
        "THREADS": "1",
    }
    try:
        yield made
    finally:
        made.close()


def swept(
    farm: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Ran, Sweep]:
    """`secateur sweep --wait` over two methods; what it printed, and the sweep."""
    models = farm.folder / "models"
    models.mkdir()
    (models / "verses.txt").write_bytes(VERSES.read_bytes())
    spec = farm.folder / "base.json"
    base = {
        "model": {"source": tiny_llada(models / "tiny").as_uri()},
        "sparsity": 0.5,
        "calibration": {"source": (models / "verses.txt").as_uri(), "samples": 3,
                        "sequence_length": 32, "sample_interval": 25},
        "evaluation": {"samples": 2, "speed": False},
    }  # fmt: skip
    spec.write_text(json.dumps(base))
    with served(
        farm.folder, broker_url=farm.broker.url, database_url=farm.url, store_url=farm.store_url
    ) as api:
        monkeypatch.setenv("SECATEUR_URL", api.url)
        page = farm.folder / "out" / "comparison.html"
        ran = runner(capsys)(
            "sweep", "--spec", str(spec), "--grid", "method=wanda,magnitude",
            "--wait", "--out", str(page.parent), "--json",
        )  # fmt: skip
        assert ran.status == 0, (ran.err, farm.tail())
        assert page.read_text().startswith("<!doctype html>")
        (listed,) = farm.jobs.sweeps("default").data
        return ran, farm.jobs.sweep("default", listed.id)


def reports(farm: Farm, sweep: Sweep) -> list[dict[str, Any]]:
    found = []
    for cell in sweep.cells or ():
        assert cell.job is not None
        key = f"jobs/{cell.job}/{farm.get(cell.job).epoch}/report/report.json"
        found.append(json.loads(farm.store.read_bytes(key)))
    return found


def test_jobs_share_the_dense_model_and_are_compared(
    farm: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    farm.start_worker()
    ran, sweep = swept(farm, capsys, monkeypatch)
    assert (sweep.state, sweep.counts.succeeded) == ("succeeded", 2)
    rows = ran.json()["rows"]
    assert [row["method"] for row in rows] == ["wanda", "magnitude"]
    first, second = reports(farm, sweep)
    assert sweep.cells is not None
    assert (first["dense_reused"], second["dense_reused"]) == (None, sweep.cells[0].job)
    assert first["quality"]["nelbo"]["dense"] == second["quality"]["nelbo"]["dense"]
    goes_as_a_whole(farm, sweep)


def goes_as_a_whole(farm: Farm, sweep: Sweep) -> None:
    """Deleted, it takes along its jobs' results and what they shared."""
    folders = [f"{dense_of(sweep.id)}/", *(f"jobs/{cell.job}/" for cell in sweep.cells or ())]
    assert all(list(farm.store.list(folder)) for folder in folders)
    farm.jobs.bury_sweep("default", sweep.id, datetime.now(UTC))
    wait_for(lambda: not any(list(farm.store.list(each)) for each in folders), "the end", farm.tail)
