"""Whole runs that go on where another one stopped: the folder, the report, and what is refused."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import Cancelled
from core.progress import Progress, ignore
from core.pruning import plan
from core.report.schema import Report
from core.run import execute
from core.spec import JobSpec, parse_spec
from core.stages import RunOptions
from tests.checkpoints import tiny_llada
from tests.kept_points import Died, FolderPoints

TEXT = (Path(__file__).parents[1] / "verses.txt").as_uri()
SMALL = {"source": TEXT, "samples": 4, "sequence_length": 32, "sample_interval": 10}
IN_DEPTH = {"samples": 2, "speed": False, "knockout": True, "baseline": "wanda"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of six sequences, each with its point."""
    monkeypatch.setattr("core.resume.PASS_SECONDS", 0.0)
    monkeypatch.setitem(plan.GROUP_TOKENS, "cpu", 200)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_llada(tmp_path / "model", shards=2)


def make_spec(model: Path, method: str = "sink-wanda", **changes: Any) -> JobSpec:
    return parse_spec(
        {
            "model": {"source": model.as_uri()},
            "method": method,
            "sparsity": 0.5,
            "calibration": SMALL,
            "evaluation": {"samples": 2, "speed": False, "texts": 0},
        }
        | changes
    )


def run(spec: JobSpec, out: Path, points: FolderPoints, **options: Any) -> Report:
    execute(spec, out, RunOptions(device="cpu", threads=1, points=points, **options), ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def digests(out: Path) -> dict[str, str]:
    files = [*(out / "model").rglob("*"), *(out / "report").glob("*.safetensors")]
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if p.is_file()
    }


def timeless(report: Report) -> dict[str, Any]:
    left = report.model_dump(exclude={"resumed"})
    for part in ("actual", "plan"):
        for name in ("seconds", "seconds_by_phase", "peak_bytes"):
            left[part].pop(name)
    return left


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("magnitude", {"recipe": {"allocation": "sensitivity"}}),
        ("sink-wanda", {"recipe": {"allocation": "owl"}, "evaluation": IN_DEPTH}),
        ("sparsegpt", {"pattern": "2:4"}),
    ],
)
def test_every_point_is_made_by_another_run(
    model: Path, tmp_path: Path, method: str, changes: dict[str, Any]
) -> None:
    spec = make_spec(model, method, **changes)
    whole = run(spec, tmp_path / "whole", first := FolderPoints(tmp_path / "first"))
    for number in range(len(first.kept)):
        points = FolderPoints(tmp_path / "points", earlier=number, dies_with=number + 1)
        with pytest.raises(Died):
            run(spec, tmp_path / "out", points)
        assert points.kept == first.kept[number : number + 1]
    last = FolderPoints(tmp_path / "points", earlier=len(first.kept))
    report = run(spec, tmp_path / "out", last)
    assert last.told == ["continued at the evaluation from attempt 1"]
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert timeless(report) == timeless(whole)
    assert whole.resumed is None
    assert report.resumed is not None
    assert report.resumed.model_dump() == {"at": "the evaluation", "origin": "attempt 1"}


def test_the_full_resolution_goes_on_too(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in the points, each of which holds no more than so many bytes of them."""
    monkeypatch.setattr("core.resume.PASS_BYTES", 1)
    asked: dict[str, Any] = {"sinks": {"dump": True, "per_head": True}, "method": "magnitude"}
    spec = make_spec(
        model, evaluation={"nelbo": False, "agreement": False, "speed": False}, **asked
    )
    whole = run(spec, tmp_path / "whole", first := FolderPoints(tmp_path / "points"))
    watched = first.kept.count("watched")
    assert watched > 1
    assert "report/sinks-full.safetensors" in digests(tmp_path / "whole")
    for earlier in (first.kept.index("watched") + 1, len(first.kept)):
        points = FolderPoints(tmp_path / "points", earlier=earlier)
        again = run(spec, tmp_path / f"out{earlier}", points)
        assert again.resumed is not None
        assert digests(tmp_path / f"out{earlier}") == digests(tmp_path / "whole")
        assert again.sinks == whole.sinks


def test_shards_are_finished_once_in_a_resumed_run_too(model: Path, tmp_path: Path) -> None:
    spec = make_spec(model)
    run(spec, tmp_path / "whole", first := FolderPoints(tmp_path / "points"))
    told: list[str] = []
    points = FolderPoints(tmp_path / "points", earlier=len(first.kept) - 1)
    run(spec, tmp_path / "out", points, finished=lambda name, path: told.append(name))
    assert sorted(told) == [f"model/model-0000{n}-of-00002.safetensors" for n in (1, 2)]


def test_a_plan_that_this_machine_has_no_memory_for_is_made_anew(
    model: Path, tmp_path: Path
) -> None:
    spec = make_spec(model)
    roomy = run(spec, tmp_path / "whole", FolderPoints(tmp_path / "points"))
    assert roomy.plan.peak_bytes is not None
    points = FolderPoints(tmp_path / "points", earlier=9)
    tight = run(spec, tmp_path / "out", points, memory_budget=roomy.plan.peak_bytes - 1)
    (told,) = points.told
    assert told.startswith("finished parts of attempt 1 are not used: its plan takes ")
    assert tight.resumed is None
    assert points.kept[0] == "plan"
    assert tight.plan.peak_bytes is not None
    assert tight.plan.peak_bytes < roomy.plan.peak_bytes


def test_points_of_another_run_are_not_believed(model: Path, tmp_path: Path) -> None:
    """Even where the store's index says that they are this one's."""
    run(make_spec(model, sparsity=0.6), tmp_path / "other", FolderPoints(tmp_path / "points"))
    points = FolderPoints(tmp_path / "points", earlier=9)
    report = run(make_spec(model), tmp_path / "out", points)
    assert points.told == ["the plan point of attempt 1 is not of this run: ignored"]
    assert report.resumed is None


def test_what_a_run_depends_on_tells_runs_apart(model: Path, tmp_path: Path) -> None:
    def identity(spec: JobSpec, threads: int = 1) -> dict[str, str]:
        points = FolderPoints(tmp_path / "points", dies_with=1)
        options = RunOptions(device="cpu", threads=threads, points=points)
        with pytest.raises(Died):
            execute(spec, tmp_path / "out", options, ignore)
        return points.run

    def names(one: dict[str, str], other: dict[str, str]) -> set[str]:
        return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}

    first = identity(make_spec(model))
    assert identity(make_spec(model)) == first
    assert first["torch"].split("+")[0] == torch.__version__.split("+")[0]
    other_seed = identity(make_spec(model, calibration=SMALL | {"seed": 1}))
    assert names(first, other_seed) == {"spec", "sequences"}
    assert names(first, identity(make_spec(model, sparsity=0.4))) == {"spec"}
    assert names(first, identity(make_spec(model), threads=2)) == {"threads"}
    tiny_llada(model, seed=1, shards=2)
    assert names(first, identity(make_spec(model))) == {"model"}


def test_progress_begins_where_the_run_goes_on(model: Path, tmp_path: Path) -> None:
    spec = make_spec(model, "wanda")
    reached: list[float] = []
    kept = FolderPoints(tmp_path / "points", dies_with=7)
    options = RunOptions(device="cpu", threads=1, points=kept)
    with pytest.raises(Died):
        execute(spec, tmp_path / "out", options, lambda p: reached.append(p.fraction))
    assert kept.kept[-1] == "block"
    again: list[Progress] = []

    def stop_soon(progress: Progress) -> None:
        again.append(progress)
        if progress.phase == "pruning":
            raise Cancelled("as the test wants it.")

    options = RunOptions(device="cpu", threads=1, points=FolderPoints(kept.folder, earlier=7))
    with pytest.raises(Cancelled):
        execute(spec, tmp_path / "out", options, stop_soon)
    after = [progress.fraction for progress in again if progress.phase != "fetching"]
    assert after[0] == reached[-1] > 0.5
    assert after == sorted(after)
