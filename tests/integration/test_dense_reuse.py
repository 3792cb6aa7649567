"""What one run found out about the dense model is what another would have: to the bit, or not at all."""

from pathlib import Path
from typing import Any

import pytest

from core.answers import NO_ANSWERS, Answers, FolderAnswers
from core.errors import StoreUnavailable
from core.evaluation.draws import DRAWS
from core.progress import ignore
from core.report.schema import Report
from core.run import execute
from core.spec import parse_spec
from core.stages import RunOptions
from core.store.local import LocalStore
from core.stored_answers import StoredAnswers
from tests.checkpoints import tiny_llada

TEXT = (Path(__file__).parents[1] / "verses.txt").as_uri()
SMALL = {"source": TEXT, "samples": 3, "sequence_length": 32, "sample_interval": 25}
SAMPLES = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llada(tmp_path_factory.mktemp("model") / "model")


def run(model: Path, out: Path, answers: Answers = NO_ANSWERS, **changes: Any) -> Report:
    spec = {
        "model": {"source": model.as_uri()},
        "method": "wanda",
        "sparsity": 0.5,
        "calibration": SMALL,
        "evaluation": {"samples": SAMPLES, "speed": False},
    }
    options = RunOptions(device="cpu", threads=1, answers=answers)
    execute(parse_spec(spec | changes), out, options, ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def told(report: Report) -> dict[str, Any]:
    """All but what it took, and whose work it was."""
    return report.model_dump(exclude={"actual", "plan", "dense_reused"})


def test_the_second_run_has_the_same_numbers_with_fewer_forwards(
    model: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "dense"
    alone = run(model, tmp_path / "alone")
    first = run(model, tmp_path / "a", FolderAnswers(kept, "a"))
    second = run(model, tmp_path / "b", FolderAnswers(kept, "b"))
    assert told(alone) == told(first) == told(second)
    assert (alone.dense_reused, first.dense_reused, second.dense_reused) == (None, None, "a")
    assert first.actual.forwards == alone.actual.forwards
    assert first.actual.forwards is not None
    assert second.actual.forwards == first.actual.forwards - SAMPLES * DRAWS
    assert "are those that a got from it" in (tmp_path / "b/report/report.html").read_text()
    # Another cell of a sweep asks the same of the same model.
    other = run(model, tmp_path / "c", FolderAnswers(kept, "c"), method="magnitude", sparsity=0.25)
    assert other.dense_reused == "a"
    assert other.quality.nelbo is not None
    assert second.quality.nelbo is not None
    assert other.quality.nelbo.dense == second.quality.nelbo.dense
    assert len(list(kept.iterdir())) == 1


class Away(LocalStore):
    """A store that answers nobody."""

    def info(self, key: str) -> Any:
        raise StoreUnavailable("away.")

    def put_file(self, key: str, source: Path, **_: Any) -> None:
        raise StoreUnavailable("away.")


def test_the_object_store_keeps_it_for_the_jobs_of_one_sweep(model: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    sweep = "swp_" + "0" * 24
    first = run(model, tmp_path / "a", StoredAnswers(store, sweep, "job_a"))
    second = run(model, tmp_path / "b", StoredAnswers(store, sweep, "job_b"))
    assert (first.dense_reused, second.dense_reused) == (None, "job_a")
    (key,) = [info.key for info in store.list("")]
    assert key.startswith(f"sweeps/{sweep}/dense/")
    other = StoredAnswers(store, "swp_" + "1" * 24, "job_c")
    assert run(model, tmp_path / "c", other).dense_reused is None
    away = StoredAnswers(Away(tmp_path / "away"), sweep, "job_d")
    assert told(run(model, tmp_path / "d", away)) == told(first)
