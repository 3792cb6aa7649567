"""Whole runs on what the model itself writes, and the texts that dense and pruned write side by side."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.analysis_spec import parse_analysis
from core.calibration.text import load_tokenizer
from core.errors import InvalidSpec
from core.evaluation.generation import go_on
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.progress import Progress, ignore
from core.pruning import plan
from core.report.schema import Report
from core.run import analyse, execute
from core.spec import parse_spec
from core.stages import RunOptions
from tests.engine_runs import ignore as unwatched
from tests.family_checkpoints import tiny
from tests.kept_points import Died, FolderPoints

VERSES = (Path(__file__).parents[1] / "verses.txt").as_uri()
SMALL = {
    "source": VERSES,
    "samples": 3,
    "sequence_length": 32,
    "diffusion_steps": 8,
    "sample_interval": 2,
}
OPTIONS = RunOptions(device="cpu", threads=1)
NOTHING = {
    "samples": 2, "nelbo": False, "agreement": False, "speed": False, "texts": 0,
    "reconstruction": False, "sinks_after": False,
}  # fmt: skip


def run(model: Path, out: Path, *, points: Any = None, **changes: Any) -> Report:
    calibration = SMALL | changes.pop("calibration", {})
    asked = {"model": {"source": model.as_uri()}, "sparsity": 0.5, "calibration": calibration}
    options = OPTIONS if points is None else RunOptions(device="cpu", threads=1, points=points)
    execute(parse_spec({"evaluation": NOTHING, **asked, **changes}), out, options, ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def weights(out: Path) -> str:
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


WAYS = [("llada", "generation"), ("dream", "generation"), ("llama", "decoding")]


@pytest.mark.parametrize(("kind", "trajectory"), WAYS)
@pytest.mark.parametrize("method", ["sink-wanda", "sink-sparsegpt"])
def test_a_saved_trajectory_prunes_as_the_written_one(
    tmp_path: Path, kind: str, trajectory: str, method: str
) -> None:
    model, saved = tiny(tmp_path / "model", kind), tmp_path / "saved.safetensors"
    asked = {"model": {"source": model.as_uri()}, "calibration": SMALL | {"trajectory": trajectory}}
    looked = analyse(parse_analysis(asked), None, OPTIONS, ignore, trajectory=saved)
    first = run(model, tmp_path / "a", method=method, calibration={"trajectory": trajectory})
    again = run(model, tmp_path / "b", method=method, calibration={"source": saved.as_uri()})
    run(model, tmp_path / "c", method=method)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")
    assert looked.sinks == first.sinks
    assert again.sinks.model_copy(update={"trajectory": trajectory}) == first.sinks
    assert (first.sinks.trajectory, again.sinks.trajectory) == (trajectory, "recorded")
    assert load_file(saved)["timesteps"].tolist() == first.sinks.timesteps == [2, 4, 6, 8]
    told = first.calibration
    assert (told.process, told.prompt_length, told.replaces) == (trajectory, 8, False)
    if trajectory == "decoding":
        assert told.unwritten == pytest.approx([6 / 32, 12 / 32, 18 / 32, 24 / 32])
        assert told.corrupted == [0.0] * 4
    else:
        assert told.unwritten is None
        assert told.corrupted[-1] == pytest.approx(24 / 32)


def test_the_plan_counts_what_is_written(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model", "llada")
    guided = {"trajectory": "generation", "generation": {"guidance": 1.0}}
    report = run(model, tmp_path / "out", calibration=guided)
    noised = run(model, tmp_path / "noised")
    assert (report.plan.forwards, noised.plan.forwards) == (3 * 4 + 3 * 8 * 2, 3 * 4)
    # Whole sequences all of them; and what was run to predict the time, in both.
    assert report.actual.forwards is not None
    assert noised.actual.forwards is not None
    assert report.actual.forwards - noised.actual.forwards == 3 * 8 * 2
    assert report.plan.flops == pytest.approx(5 * (noised.plan.flops or 0))


def test_progress_and_phases(tmp_path: Path) -> None:
    model, told = tiny(tmp_path / "model", "llada"), list[Progress]()
    asked = {
        "model": {"source": model.as_uri()},
        "calibration": SMALL | {"trajectory": "generation"},
    }
    analyse(parse_analysis(asked), None, OPTIONS, told.append)
    steps = [p.message for p in told if p.message.startswith("writing the trajectory (")]
    assert steps[0] == "writing the trajectory (1/8)"
    assert steps[-1] == "writing the trajectory (8/8)"
    shares = [p.fraction for p in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_every_point_is_made_by_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.resume.PASS_SECONDS", 0.0)
    monkeypatch.setitem(plan.GROUP_TOKENS, "cpu", 200)
    model = tiny(tmp_path / "model", "llama")
    asked = {"calibration": {"trajectory": "decoding", "generation": {"temperature": 0.7}}}
    whole = run(model, tmp_path / "whole", points=(first := FolderPoints(tmp_path / "a")), **asked)
    assert first.kept[:3] == ["plan", "written", "targets"]
    for number in range(len(first.kept)):
        points = FolderPoints(tmp_path / "b", earlier=number, dies_with=number + 1)
        with pytest.raises(Died):
            run(model, tmp_path / "out", points=points, **asked)
    last = FolderPoints(tmp_path / "b", earlier=len(first.kept))
    report = run(model, tmp_path / "out", points=last, **asked)
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert report.sinks == whole.sinks
    assert report.actual.forwards == whole.actual.forwards


@pytest.mark.parametrize("kind", ["llada", "dream", "llama", "llada2_moe"])
def test_dense_and_pruned_go_on_side_by_side(tmp_path: Path, kind: str) -> None:
    model = tiny(tmp_path / "model", kind)
    asked = NOTHING | {"samples": 3, "texts": 2}
    calibration = {"sample_interval": 8, "sequence_length": 48}
    report = run(model, tmp_path / "out", evaluation=asked, calibration=calibration)
    rows = 2 * 24
    assert report.plan.forwards == 3 + 2 * rows
    assert len(report.quality.texts) == 2
    tokenizer = load_tokenizer(model)
    for name, folder in (("dense", model), ("pruned", tmp_path / "out" / "model")):
        decoder = load(Checkpoint(take_in(folder)), torch.device("cpu"))
        for text in report.quality.texts:
            window = tokenizer.start + tuple(tokenizer.encode([text.prompt + text.truth]))
            assert len(window) == 48
            written = go_on(decoder, torch.tensor([window]), group=4, watch=unwatched)
            assert tokenizer.decode(written[0, 24:].tolist()) == getattr(text, name)


def test_a_model_without_a_tokenizer_has_no_texts(tmp_path: Path) -> None:
    model, rows = tiny(tmp_path / "model", "llada"), torch.randint(60, (6, 16))
    save_file({"input_ids": rows}, tmp_path / "t.safetensors")
    (model / "tokenizer.json").unlink()
    source = {"source": (tmp_path / "t.safetensors").as_uri()}
    asked = NOTHING | {"texts": 2}
    report = run(model, tmp_path / "out", evaluation=asked, calibration=source)
    assert report.quality.texts == []
    assert any("no tokenizer to read them with" in warning for warning in report.warnings)
    quiet = run(model, tmp_path / "quiet", calibration=source)
    assert not any("tokenizer" in warning for warning in quiet.warnings)


@pytest.mark.parametrize(("kind", "trajectory"), [("llada", "decoding"), ("qwen2", "generation")])
def test_the_other_kind_of_model_is_refused(tmp_path: Path, kind: str, trajectory: str) -> None:
    with pytest.raises(InvalidSpec, match=f"{kind} writes .*: no {trajectory}"):
        run(tiny(tmp_path / "m", kind), tmp_path / "out", calibration={"trajectory": trajectory})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "trajectory", "words"),
    [
        ("llada", "generation", "wrote over masks by its own sampler"),
        pytest.param("llama", "decoding", "not yet written", marks=pytest.mark.plots),
    ],
)
def test_the_page_says_what_was_watched(
    tmp_path: Path, kind: str, trajectory: str, words: str
) -> None:
    model = tiny(tmp_path / "model", kind)
    asked = {"model": {"source": model.as_uri()}, "calibration": SMALL | {"trajectory": trajectory}}
    analyse(parse_analysis(asked), tmp_path / "out", OPTIONS, ignore)
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert words in page
    assert "2, 4, 6, 8 steps left" in page
    assert "the first 8 positions of each sample" in page
