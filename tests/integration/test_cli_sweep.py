"""`secateur sweep` and `secateur report --compare`: here, on a server, and what each refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadRequest
from secateur.cli._grid import sweep_data, values_of
from tests.checkpoints import tiny_llada
from tests.commands import Run, runner
from tests.integration.test_http_sweeps import FILES
from tests.results import write_result
from tests.served import Served

VERSES = Path(__file__).parents[1] / "verses.txt"


@pytest.fixture
def run(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, against the test's server."""
    monkeypatch.setenv("SECATEUR_URL", server.url)
    return runner(capsys)


def base(model: Path) -> dict[str, Any]:
    return {
        "model": {"source": model.as_uri()},
        "sparsity": 0.5,
        "calibration": {"source": VERSES.as_uri(), "samples": 3, "sequence_length": 32, "sample_interval": 25},
        "evaluation": {"samples": 2, "speed": False},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5,0.75", [0.5, 0.75]),
        ("clean, noised", ["clean", "noised"]),
        ("true", [True]),
        ('[[0.5, 0.25], "uniform"]', [[0.5, 0.25], "uniform"]),
        ("2:4,unstructured", ["2:4", "unstructured"]),
        ('{"a": 1}', [{"a": 1}]),
    ],
)
def test_values_are_json_where_they_can_be(text: str, values: list[Any]) -> None:
    if text.startswith("{"):
        assert values_of(f"[{text}]") == values
    else:
        assert values_of(text) == values


def test_a_grid_is_typed_path_by_path() -> None:
    data = sweep_data({"a": 1}, ["sparsity=0.5,0.75", "method=wanda"], "ablation", "n")
    assert data == {
        "base": {"a": 1}, "name": "n", "preset": "ablation",
        "grid": {"sparsity": [0.5, 0.75], "method": ["wanda"]},
    }  # fmt: skip
    for wrong in (["sparsity"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(BadRequest):
            sweep_data({}, wrong, None, "")


def test_here_cells_run_one_after_another_and_go_on_where_they_stopped(
    run: Run, tmp_path: Path
) -> None:
    spec, out = tmp_path / "base.json", tmp_path / "swept"
    spec.write_text(json.dumps(base(tiny_llada(tmp_path / "model"))))
    given = [
        "sweep",
        "--local",
        "--spec",
        str(spec),
        "--out",
        str(out),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    methods = ["--grid", "method=magnitude,wanda"]
    first = run(*given, *methods, "--json")
    assert first.status == 0, first.err
    rows = first.json()["rows"]
    assert [row["method"] for row in rows] == ["magnitude", "wanda"]
    assert [row["missing"] for row in rows] == [[], []]
    folders = sorted(path.name for path in out.iterdir())
    assert [name.partition("-")[0] for name in folders] == [
        "comparison.html",
        "dense",
        "magnitude",
        "wanda",
    ]
    reports = [json.loads((out / row["name"] / "report/report.json").read_bytes()) for row in rows]
    assert [report["dense_reused"] for report in reports] == [None, rows[0]["name"]]
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/manifest.json")}
    # A larger grid leaves alone what is there; a cell that fails does not stop the one after it.
    more = [*methods, "--grid", "calibration.samples=3,60000,4"]
    again = run(*given, *more)
    assert again.status == 3
    assert (
        again.err.count("is there already") == 0
    )  # each cell says now how many samples: other specs
    kept = run(*given, *methods)
    assert kept.status == 0
    assert kept.err.count("is there already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    page = (out / "comparison.html").read_text()
    assert page.startswith("<!doctype html>")


def test_here_a_failed_cell_is_told_of_in_the_comparison(run: Run, tmp_path: Path) -> None:
    spec, out = tmp_path / "base.json", tmp_path / "swept"
    spec.write_text(json.dumps(base(tiny_llada(tmp_path / "model")) | {"method": "magnitude"}))
    given = [
        "sweep",
        "--local",
        "--spec",
        str(spec),
        "--out",
        str(out),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    ran = run(*given, "--grid", "calibration.samples=60000,3", "--json")
    assert ran.status == 3
    assert [row["note"] for row in ran.json()["rows"]] == ["failed: text-too-short", None]


def test_here_nothing_that_is_there_is_replaced(run: Run, tmp_path: Path) -> None:
    spec, out = tmp_path / "base.json", tmp_path / "swept"
    spec.write_text(json.dumps(base(tiny_llada(tmp_path / "model")) | {"method": "magnitude"}))
    given = [
        "sweep",
        "--local",
        "--spec",
        str(spec),
        "--out",
        str(out),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    assert run(*given, "--grid", "sparsity=0.5").status == 0
    (folder,) = out.glob("0.5-*")
    (folder / "manifest.json").unlink()
    refused = run(*given, "--grid", "sparsity=0.5")
    assert (refused.status, "is not what this sweep would put there" in refused.err) == (2, True)


def test_on_a_server(run: Run, server: Served, tmp_path: Path) -> None:
    spec = tmp_path / "base.json"
    spec.write_text(json.dumps(server.spec()))
    queued = run("sweep", "--spec", str(spec), "--grid", "method=wanda,magnitude", "--name", "two")
    assert queued.status == 0, queued.err
    sweep_id = queued.out.strip()
    assert server.jobs.sweep("default", sweep_id).name == "two"
    dry = run("sweep", "example:kjv-dlm", "--preset", "ablation", "--dry-run")
    assert dry.out.startswith("jobs      24\n")
    wrong = run("sweep", "--spec", str(spec), "--grid", "sparsity=0.5,2")
    assert wrong.status == 2
    assert "cells.2.sparsity" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "example:kjv-dlm", "--grid", "sparsity=0.5", "--local"], "--out DIR"),
        (
            [
                "sweep",
                "example:kjv-dlm",
                "--grid",
                "sparsity=0.5",
                "--local",
                "--out",
                "x",
                "--wait",
            ],
            "--wait",
        ),
        (["sweep", "example:kjv-dlm", "--grid", "sparsity=0.5", "--device", "cpu"], "--local"),
        (["sweep", "example:kjv-dlm", "--grid", "sparsity=0.5", "--out", "x"], "--wait"),
        (["sweep", "example:kjv-dlm", "--grid", "sparsity"], "PATH=VALUES"),
        (["sweep", "example:kjv-dlm", "--preset", "all"], "preset"),
        (["report", "a", "b"], "--compare"),
        (["report", "--compare", "a"], "2 to 8"),
        (["report", "--compare", "a", "a"], "twice"),
        (["report", "--compare", "/nowhere", "/none"], "cannot read"),
        (["report", "--compare", "a", "b", "--out", "x.txt"], ".html"),
    ],
)
def test_refusals_name_the_remedy(run: Run, arguments: list[str], said: str) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_folders_files_and_jobs_are_compared(run: Run, server: Served, tmp_path: Path) -> None:
    folder = write_result(tmp_path / "mine")
    file = (
        write_result(tmp_path / "other", seeds={"calibration": 0, "evaluation": 7})
        / "report/report.json"
    )
    job_id, out = server.succeeded(FILES), tmp_path / "pages" / "all.html"
    places = [str(folder), str(file), job_id]
    shown = run("report", "--compare", *places, "--out", str(out))
    assert shown.status == 0, shown.err
    assert "evaluation seed differs: 1 and 3: 1, 2: 7" in shown.err
    assert "+0.1234 ± 0.0042" in shown.out
    assert all(name in shown.out for name in ("mine", "other", job_id))
    assert out.read_text().startswith("<!doctype html>")
    taken = run("report", "--compare", *places, "--out", str(out))
    assert (taken.status, "--force" in taken.err) == (2, True)
    found = run("report", "--compare", *places, "--out", str(out), "--force", "--json").json()
    assert [row["name"] for row in found["rows"]] == ["mine", "other", job_id]
    (tmp_path / "no.json").write_text("[1]")
    assert (
        "no JSON object" in run("report", "--compare", str(folder), str(tmp_path / "no.json")).err
    )
    assert run("report", "--compare", job_id, f"job_{'0' * 24}").status == 1
