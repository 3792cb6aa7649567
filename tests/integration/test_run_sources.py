"""Whole runs on what comes from elsewhere: a data set of the hub, and a trajectory that was saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.calibration.prepare import prepare
from core.calibration.token_file import write_token_file
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.progress import ignore
from core.report.schema import Report
from core.run import execute
from core.sources import LocalFile
from core.spec import parse_spec
from core.stages import RunOptions
from core.texts import Downloads, opened
from tests.hub import COMMIT, FakeHub
from workers import engine
from workers.protocol import Request

VERSES = Path(__file__).parents[1] / "verses.txt"


def run(model: Path, out: Path, options: RunOptions, **calibration: Any) -> Report:
    spec = parse_spec(
        {
            "model": {"source": model.as_uri()},
            "sparsity": 0.5,
            "calibration": {"samples": 4, "sequence_length": 32, **calibration},
            "evaluation": {"samples": 4, "speed": False},
        }
    )
    execute(spec, out, options, ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def test_a_run_on_a_data_set_of_the_hub(hub: FakeHub, tiny_model: Path, tmp_path: Path) -> None:
    hub.files = {"train.txt": VERSES.read_bytes()}
    options = RunOptions(device="cpu", threads=1)
    report = run(tiny_model, tmp_path / "hub", options, source="hf://datasets/org/name")
    assert report.quality.nelbo is not None
    assert COMMIT in report.quality.nelbo.text
    assert report.calibration.revision == COMMIT
    assert {p.name for p in (tmp_path / "hub").iterdir()} == {"model", "report", "manifest.json"}
    run(tiny_model, tmp_path / "file", options, source=VERSES.as_uri())
    assert weights(tmp_path / "hub") == weights(tmp_path / "file")


def test_a_saved_trajectory_prunes_as_the_drawn_one(tiny_model: Path, tmp_path: Path) -> None:
    options = RunOptions(device="cpu", threads=1)
    chosen = {"source": VERSES.as_uri(), "max_rate": 0.5, "include_clean": True}
    run(tiny_model, tmp_path / "drawn", options, **chosen)
    decoder = load(Checkpoint(take_in(tiny_model)), torch.device("cpu"))
    calibration = parse_spec(
        {
            "model": {"source": tiny_model.as_uri()},
            "sparsity": 0.5,
            "calibration": {"samples": 4, "sequence_length": 32, **chosen},
        }
    ).calibration
    with opened(LocalFile(VERSES), Downloads(tmp_path)) as text:
        prepared = prepare(calibration, text, tiny_model, decoder.family, decoder.dimensions, 4)
    saved = tmp_path / "saved.safetensors"
    write_token_file(saved, prepared.trajectories)
    run(tiny_model, tmp_path / "saved", options, source=saved.as_uri())
    assert weights(tmp_path / "saved") == weights(tmp_path / "drawn")


def test_a_workers_cache_reaches_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunOptions] = []
    monkeypatch.setattr(engine, "execute_spec", lambda spec, out, options, _: seen.append(options))
    spec = parse_spec({"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5})
    request = Request(
        job_id="job_a", epoch=1, spec=spec, supervisor=1, entry="workers.engine:execute",
        store_url=tmp_path.as_uri(), scratch=tmp_path, device="cpu", threads=None,
        memory_budget=None, model_roots=(), hub_cache=tmp_path / "kept",
    )  # fmt: skip
    engine.execute(request, tmp_path / "out", ignore)
    assert seen[0].hub_cache == tmp_path / "kept"
