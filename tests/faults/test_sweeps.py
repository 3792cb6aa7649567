"""A sweep all the way: posted by the command, carried out by a worker, compared, and cleaned up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.jobs.objects import dense_of
from core.jobs.store import JobStore
from core.jobs.sweep_views import Sweep
from tests.buckets import CREDENTIALS, new_bucket
from tests.checkpoints import tiny_llada
from tests.commands import Ran, runner
from tests.faults.farm import Farm, wait_for
from tests.served import served

VERSES = Path(__file__).parents[1] / "verses.txt"


@pytest.fixture(params=["folder", "bucket"])
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Farm]:
    """With the real engine, on either kind of store."""
    url = None
    if request.param == "bucket":
        endpoint = str(request.getfixturevalue("seaweed"))
        url = f"s3://{new_bucket(endpoint).bucket}/results?endpoint={endpoint}"
    made = Farm(tmp_path, store_url=url)
    made.settings |= {"RUNNER_ENTRY": "", "THREADS": "1", "MODEL_ROOTS": str(tmp_path / "models")}
    try:
        yield made
    finally:
        made.close()


def swept(
    farm: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Ran, Sweep]:
    """`secateur sweep --wait` over two methods and two sparsities; what it printed, and the sweep."""
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
            "--grid", "sparsity=0.25,0.5", "--wait", "--out", str(page.parent), "--json",
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
    assert (sweep.state, sweep.counts.succeeded) == ("succeeded", 4)
    rows = ran.json()["rows"]
    assert [(row["method"], row["sparsity"]) for row in rows] == [
        ("wanda", 0.25), ("wanda", 0.5), ("magnitude", 0.25), ("magnitude", 0.5),
    ]  # fmt: skip
    found = reports(farm, sweep)
    assert sweep.cells is not None
    assert found[0]["dense_reused"] is None
    assert {each["dense_reused"] for each in found[1:]} == {sweep.cells[0].job}
    assert len({each["quality"]["dense"]["nelbo"]["mean"] for each in found}) == 1
    removed_with_its_jobs(farm, farm.jobs, sweep)


def removed_with_its_jobs(farm: Farm, jobs: JobStore, sweep: Sweep) -> None:
    """What they shared goes when the last of them has gone."""
    folder = f"{dense_of(sweep.id)}/"
    assert list(farm.store.list(folder))
    for cell in sweep.cells or ():
        assert cell.job is not None
        jobs.bury("default", cell.job, farm.get(cell.job).created_at)
    wait_for(
        lambda: not list(farm.store.list(folder)), "the dense model's figures to go", farm.tail
    )
