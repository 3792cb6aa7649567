"""Whole runs whose quality is looked at in depth: what the report says, and that it holds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.evaluation.in_depth import CONDITIONS
from core.progress import ignore
from core.recipes import METHODS, Method
from core.report.schema import Report
from core.run import execute
from core.spec import parse_spec
from core.stages import RunOptions
from tests.family_checkpoints import tiny

SMALL = {
    "source": (Path(__file__).parents[1] / "verses.txt").as_uri(),
    "samples": 3,
    "sequence_length": 32,
    "sample_interval": 10,
}


def run(model: Path, out: Path, evaluation: dict[str, Any], **changes: Any) -> Report:
    spec = {"model": {"source": model.as_uri()}, "sparsity": 0.5, "calibration": SMALL, **changes}
    spec["evaluation"] = {"samples": 3, "speed": False, **evaluation}
    execute(parse_spec(spec), out, RunOptions(device="cpu", threads=1), ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


@pytest.mark.parametrize("kind", ["qwen3", "llada2_moe"])
def test_a_run_is_looked_at_in_depth(tmp_path: Path, kind: str) -> None:
    model = tiny(tmp_path / "model", kind)
    report = run(model, tmp_path / "out", {"knockout": True, "baseline": "magnitude"})
    quality, heads = report.quality, report.sparsity.heads
    assert quality.nelbo is not None
    whole = sum(band.draws for band in quality.bands)
    for name in ("dense", "pruned", "difference"):
        total = sum(band.draws * getattr(band, name) for band in quality.bands) / whole
        assert total == pytest.approx(getattr(quality.nelbo, name), rel=1e-9, abs=1e-12)
    assert [error.layer for error in quality.reconstruction] == [0, 1]
    for error in quality.reconstruction:
        assert 0 < (error.own.mean or 0) < (error.carried.mean or 0) * (1 + error.layer) + 1e-9
    assert quality.sinks_after is not None
    assert len(quality.sinks_after.per_layer) == 2
    assert (quality.sinks_after.samples, quality.sinks_after.timesteps) == (3, 5)
    assert quality.knockout is not None
    assert [each.name for each in quality.knockout.conditions] == list(CONDITIONS)
    assert heads is not None
    assert [len(row) for row in heads] == [report.model.heads] * 2
    kept = [0.5] * report.model.heads
    assert all(row == pytest.approx(kept, abs=0.2) for row in heads)
    assert quality.baseline is not None
    assert 0 < quality.baseline.disagreement < 1
    assert quality.baseline.matrices.keys() == report.sparsity.matrices.keys()
    assert quality.baseline.loss is not None
    assert quality.baseline.difference is not None
    ours = (quality.baseline.loss.mean or 0) + (quality.baseline.difference.mean or 0)
    assert ours == pytest.approx(quality.nelbo.pruned, rel=1e-9)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model", "llada")
    off = {"reconstruction": False, "sinks_after": False, "texts": 0}
    plain = run(model, tmp_path / "plain", off)
    deep = run(model, tmp_path / "deep", {"knockout": True, "baseline": "wanda"})
    assert deep.quality.nelbo == plain.quality.nelbo
    assert deep.quality.agreement == plain.quality.agreement
    assert deep.quality.bands == plain.quality.bands
    assert plain.quality.model_dump(exclude={"nelbo", "agreement", "bands"}) == {
        "objective": "nelbo", "reconstruction": [], "sinks_after": None, "knockout": None,
        "baseline": None, "texts": [],
    }  # fmt: skip
    one, other = (load_file(tmp_path / d / "model/model.safetensors") for d in ("plain", "deep"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("method", "baseline", "pattern"), [
    ("sink-wanda", "wanda", "unstructured"), ("sparsegpt", "sink-wanda", "2:4"),
    ("wanda", "magnitude", "2:4"), ("magnitude", "sink-sparsegpt", "unstructured"),
])  # fmt: skip
def test_a_baseline_is_what_its_method_does_alone(
    tmp_path: Path, method: Method, baseline: Method, pattern: str
) -> None:
    """Masks of our run and of one by the baseline's method, compared by hand, are those compared."""
    model = tiny(tmp_path / "model", "llama")
    rest = {"knockout": False, "reconstruction": False, "sinks_after": False}
    ours = run(model, tmp_path / "ours", rest | {"baseline": baseline}, method=method,
               pattern=pattern)  # fmt: skip
    theirs = run(model, tmp_path / "theirs", rest, method=baseline, pattern=pattern)
    found = ours.quality.baseline
    assert found is not None
    assert found.method == baseline
    assert found.recipe["score"] == METHODS[baseline].score
    a, b = (load_file(tmp_path / d / "model/model.safetensors") for d in ("ours", "theirs"))
    one = either = 0
    for name, share in found.matrices.items():
        x, y = a[name] == 0, b[name] == 0
        assert share == int((x ^ y).sum()) / int((x | y).sum()), name
        one, either = one + int((x ^ y).sum()), either + int((x | y).sum())
    assert found.disagreement == one / either > 0
    assert theirs.quality.nelbo is not None
    assert found.loss is not None
    assert found.loss.mean == pytest.approx(theirs.quality.nelbo.pruned, rel=1e-6)
    assert ours.sparsity.heads is not None
    assert theirs.sparsity.heads is not None
    for rows in zip(
        found.heads_sparsity_change, ours.sparsity.heads, theirs.sparsity.heads, strict=True
    ):
        for change, mine, other in zip(*rows, strict=True):
            assert change == pytest.approx(mine - other, abs=1e-12)
