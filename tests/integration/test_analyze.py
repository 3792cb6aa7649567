"""Analyses of whole models: the sinks that a pruning run would see, and nothing else left behind."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from core.analysis_spec import AnalysisSpec, parse_analysis
from core.errors import (
    BadRequest,
    Cancelled,
    InvalidSpec,
    ModelNotFound,
    OutputExists,
    TextTooShort,
)
from core.progress import Progress, ignore
from core.report import sinks_file
from core.report.schema import AnalysisReport, Report
from core.run import analyse, execute
from core.spec import Evaluation, parse_spec
from core.stages import RunOptions
from core.store import manifest
from secateur.cli import main
from tests import sink_oracle
from tests.checkpoints import VOCABULARY
from tests.family_checkpoints import tiny

VERSES = (Path(__file__).parents[1] / "verses.txt").as_uri()
SMALL = {"source": VERSES, "samples": 3, "sequence_length": 32, "sample_interval": 10}
OPTIONS = RunOptions(device="cpu", threads=1)


def asked(model: Path, **calibration: Any) -> dict[str, Any]:
    return {"model": {"source": model.as_uri()}, "calibration": SMALL | calibration}


def spec_of(model: Path, **calibration: Any) -> AnalysisSpec:
    return parse_analysis(asked(model, **calibration))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["llada", "dream", "llama", "llada_moe", "llada2_moe"])
def test_the_sinks_are_those_that_pruning_sees(tmp_path: Path, kind: str) -> None:
    model = tiny(tmp_path / "model", kind)
    found = analyse(spec_of(model), tmp_path / "looked", OPTIONS, ignore)
    job = asked(model) | {"sparsity": 0.5, "method": "wanda", "evaluation": {"speed": False}}
    execute(parse_spec(job), tmp_path / "pruned", OPTIONS, ignore)
    pruned = Report.model_validate_json((tmp_path / "pruned/report/report.json").read_bytes())
    name = "report/sinks.safetensors"
    looked, saw = (sinks_file.read(tmp_path / f / name) for f in ("looked", "pruned"))
    for field in ("masked", "timesteps", "sink", "persistence"):
        np.testing.assert_array_equal(getattr(looked, field), getattr(saw, field))
    assert looked.mass == pytest.approx(saw.mass, rel=1e-3)
    assert found.sinks == pruned.sinks
    assert found.calibration == pruned.calibration
    assert found.model == pruned.model


def test_a_long_text_gives_the_sequences_that_pruning_gets(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long text only a beginning is read, whose length depends on what is asked for."""
    monkeypatch.setattr("core.calibration.text.READ_AT_LEAST", 1)
    monkeypatch.setattr("core.calibration.text.READ_AHEAD", 2)
    analyse(spec_of(tiny_model), tmp_path / "looked", OPTIONS, ignore)
    job = asked(tiny_model) | {"sparsity": 0.5, "evaluation": {"speed": False, "nelbo": False}}
    execute(parse_spec(job), tmp_path / "pruned", OPTIONS, ignore)
    name = "report/sinks.safetensors"
    assert digest(tmp_path / "looked" / name) == digest(tmp_path / "pruned" / name)


def test_every_number_of_the_report_comes_from_the_full_resolution(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ran = Ran(
        capsys, *arguments(tiny_model), "--out", str(out), "--per-head", "--dump-mass", "--json"
    )
    assert ran.status == 0, ran.err
    report = AnalysisReport.model_validate_json((out / "report" / "report.json").read_bytes())
    assert report.job["sinks"]["per_head"] is report.job["sinks"]["dump"] is True
    listed = {file.name for file in manifest.verify(out).files}
    assert "report/sinks-full.safetensors" in listed
    full = load_file(out / "report" / "sinks-full.safetensors")
    assert full["mass"].shape == (3, 10, 2, 32)
    heads = full["head_mass"].double()
    assert heads.sum(3).numpy() == pytest.approx(full["mass"].double().numpy(), rel=1e-5)
    kept = sinks_file.read(out / "report" / "sinks.safetensors").mass
    assert kept == pytest.approx(full["mass"].numpy(), rel=1e-3)
    told = report.sinks.per_head
    assert told is not None
    assert len(told) == report.model.blocks * report.model.heads
    shared = heads.shape[3] // full["head_value_norm"].shape[3]
    for head in told:
        each = [
            sink_oracle.statistics(
                heads[n, :, head.layer, head.head].numpy(),
                full["head_value_norm"][n, :, head.layer, head.head // shared].numpy(),
                full["masked"][n].bool().numpy(),
            )
            for n in range(3)
        ]
        for name in ("spatial_variance", "mass_share", "sinks_per_step"):
            mean = float(np.mean([one[name] for one in each]))
            assert getattr(head, name).mean == pytest.approx(mean, rel=1e-6)


def test_the_full_resolution_needs_a_place(tiny_model: Path) -> None:
    asks = asked(tiny_model) | {"sinks": {"dump": True}}
    with pytest.raises(BadRequest, match="--out"):
        analyse(parse_analysis(asks), None, OPTIONS, ignore)


@pytest.mark.plots
def test_the_folder_is_complete_and_says_what_it_is(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    returned = analyse(spec_of(tiny_model), out, OPTIONS, ignore)
    written = json.loads((out / "report" / "report.json").read_bytes())
    assert AnalysisReport.model_validate(written) == returned
    assert written["kind"] == "analysis"
    for absent in ("recipe", "sparsity", "quality", "speed"):
        assert written[absent] is None
    assert AnalysisSpec.model_validate(written["job"]) == spec_of(tiny_model)
    assert written["plan"]["forwards"] == 3 * 5
    listed = {file.name for file in manifest.verify(out).files}
    assert {"report/report.json", "report/report.html", "report/sinks.safetensors"} <= listed
    assert {"report/plots/mass.png", "report/plots/spatial-variance.png"} <= listed
    assert sorted(p.name for p in out.iterdir()) == ["manifest.json", "report"]
    page = (out / "report" / "report.html").read_text()
    assert "Sink analysis" in page
    for section in ("What was removed", "What it cost", "What it saves", "model card"):
        assert section not in page


def test_the_same_spec_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    reports = [analyse(spec_of(tiny_model), tmp_path / n, OPTIONS, ignore) for n in "ab"]
    name = "report/sinks.safetensors"
    assert digest(tmp_path / "a" / name) == digest(tmp_path / "b" / name)
    told = [r.model_dump(exclude={"plan", "actual"}) for r in reports]
    assert told[0] == told[1]


@pytest.mark.parametrize("kind", ["llada", "llama"])
def test_a_saved_trajectory_is_watched_again(tmp_path: Path, kind: str) -> None:
    model, saved = tiny(tmp_path / "model", kind), tmp_path / "new" / "saved.safetensors"
    first = analyse(spec_of(model), None, OPTIONS, ignore, trajectory=saved)
    assert list(saved.parent.iterdir()) == [saved]
    assert load_file(saved)["noised_input_ids"].shape == (3, 5, 32)
    second = analyse(spec_of(model, source=saved.as_uri()), None, OPTIONS, ignore)
    assert second.sinks.spatial_variance == first.sinks.spatial_variance
    assert second.sinks.temporal_variance == first.sinks.temporal_variance
    assert (first.sinks.trajectory, second.sinks.trajectory) == ("forward-noise", "recorded")
    assert second.calibration.process == "recorded"
    assert second.calibration.replaces == (kind == "llama")
    assert second.warnings == []


def test_only_the_sequences_that_are_watched_need_text(tiny_model: Path, tmp_path: Path) -> None:
    """Nothing is judged, so nothing is held out."""
    text = tmp_path / "short.txt"
    text.write_text("abcdefg " * 12)
    short = {"source": text.as_uri(), "sequence_length": 33}
    assert analyse(spec_of(tiny_model, **short), None, OPTIONS, ignore).sinks.samples == 3
    with pytest.raises(TextTooShort):
        analyse(spec_of(tiny_model, **short, samples=4), None, OPTIONS, ignore)


@pytest.mark.parametrize("kind", ["llada", "llama"])
def test_what_sinks_are_worth_is_what_a_job_finds(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.looking.Evaluation", lambda: Evaluation(samples=3))
    # Of random models hardly a position stands out by more.
    sinks = {"sinks": {"threshold_std": 1.0}}
    model, seen = tiny(tmp_path / "model", kind), list[Progress]()
    spec = parse_analysis(asked(model) | sinks | {"knockout": True})
    found = analyse(spec, None, OPTIONS, seen.append)
    evaluation = {"speed": False, "samples": 3, "knockout": True}
    job = asked(model) | sinks | {"sparsity": 0.5, "evaluation": evaluation}
    execute(parse_spec(job), tmp_path / "out", OPTIONS, ignore)
    pruned = Report.model_validate_json((tmp_path / "out/report/report.json").read_bytes())
    assert found.knockout is not None
    assert found.knockout == pruned.quality.knockout
    assert pruned.quality.nelbo is not None
    conditions = {each.name: each for each in found.knockout.conditions}
    assert conditions["none"].loss.mean == pytest.approx(pruned.quality.nelbo.dense, rel=1e-5)
    assert conditions["all"].hidden == conditions["random"].hidden > 0
    assert found.seeds == {"calibration": 0, "evaluation": 1}
    assert analyse(spec_of(model), None, OPTIONS, ignore).knockout is None
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    # With the forward that times; conditions that hide the same are judged once.
    extra = (found.actual.forwards or 0) - (found.plan.forwards or 0)
    assert extra <= 2 * 15


def test_progress_only_grows_and_names_no_phase_that_there_is_not(tiny_model: Path) -> None:
    seen: list[Progress] = []
    analyse(spec_of(tiny_model), None, OPTIONS, seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    phases = list(dict.fromkeys(progress.phase for progress in seen))
    assert phases == ["fetching", "analysing", "publishing"]


@pytest.mark.parametrize("phase", ["fetching", "analysing", "publishing"])
def test_an_analysis_that_is_told_to_stop_leaves_nothing(
    tiny_model: Path, tmp_path: Path, phase: str
) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == phase:
            raise Cancelled("enough.")

    folder = tmp_path / "results"
    folder.mkdir()
    with pytest.raises(Cancelled):
        analyse(
            spec_of(tiny_model), folder / "out", OPTIONS, stop, trajectory=folder / "t.safetensors"
        )
    assert list(folder.iterdir()) == []


def test_what_is_there_gives_way_only_when_told(tiny_model: Path, tmp_path: Path) -> None:
    out, saved = tmp_path / "r" / "out", tmp_path / "r" / "saved.safetensors"
    out.mkdir(parents=True)
    saved.write_bytes(b"kept")
    spec = spec_of(tiny_model)
    with pytest.raises(OutputExists, match="--force"):
        analyse(spec, out, OPTIONS, ignore)
    with pytest.raises(OutputExists, match=r"saved\.safetensors"):
        analyse(spec, None, OPTIONS, ignore, trajectory=saved)
    with pytest.raises(BadRequest, match="token file"):
        analyse(spec, None, OPTIONS, ignore, trajectory=tmp_path / "t.bin")
    force = RunOptions(device="cpu", threads=1, replace=True)
    with pytest.raises(ModelNotFound):
        analyse(spec_of(tmp_path / "none"), out, force, ignore, trajectory=saved)
    assert saved.read_bytes() == b"kept"
    analyse(spec, out, force, ignore, trajectory=saved)
    assert (out / "manifest.json").is_file()
    assert load_file(saved)["input_ids"].max() < VOCABULARY
    assert sorted(p.name for p in out.parent.iterdir()) == ["out", "saved.safetensors"]


def test_only_three_sections_are_understood(tiny_model: Path) -> None:
    more: dict[str, Any]
    for more in ({"sparsity": 0.5}, {"method": "wanda"}, {"evaluation": {}}):
        with pytest.raises(InvalidSpec) as caught:
            parse_analysis(asked(tiny_model) | more)
        assert caught.value.fields[0]["field"] == next(iter(more))


class Ran:
    """One call of the command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        with pytest.raises(SystemExit) as exited:
            main(["analyze", *arguments])
        self.status = exited.value.code
        self.out, self.err = capsys.readouterr()


def arguments(model: Path) -> list[str]:
    return [str(model), "--calibration", str(Path(__file__).parents[1] / "verses.txt"),
            "--samples", "3", "--sequence-length", "32", "--threads", "1", "--device", "cpu"]  # fmt: skip


def test_the_command_prints_a_summary_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(tmp_path / "model", "llama")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    ran = Ran(capsys, *arguments(model))
    assert ran.status == 0, ran.err
    for shown in ("family llama (causal attention)", "sinks at a timestep", "temporal variance",
                  "stable", "overlap from step to step", "By block", "replaced"):  # fmt: skip
        assert shown in ran.out
    assert "analysing" in ran.err
    assert list((tmp_path / "empty").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "model"]


def test_the_command_tells_what_sinks_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.looking.Evaluation", lambda: Evaluation(samples=2))
    ran = Ran(capsys, *arguments(tiny(tmp_path / "model", "llama")), "--knockout")
    assert ran.status == 0, ran.err
    (told,) = [line for line in ran.out.splitlines() if "nats per token" in line]
    assert told.split()[0] == "nothing"
    assert "Loss with keys hidden from attention, on verses.txt, windows" in ran.out
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(asked(tmp_path / "model")))
    assert Ran(capsys, "--spec", str(spec), "--knockout").status == 2


def test_the_command_writes_and_tells_in_json(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, saved = tmp_path / "out", tmp_path / "saved.safetensors"
    given = [*arguments(tiny_model), "--out", str(out), "--save-trajectory", str(saved), "--json"]
    ran = Ran(capsys, *given)
    assert ran.status == 0, ran.err
    told = json.loads(ran.out)
    assert (told.pop("out"), told.pop("trajectory")) == (str(out), str(saved))
    assert told == json.loads((out / "report" / "report.json").read_bytes())
    again = Ran(capsys, *given)
    assert again.status == 2
    assert "--force" in again.err
    assert again.out == ""
    assert Ran(capsys, *given, "--force").status == 0


def test_the_commands_refusals(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(asked(tiny_model) | {"sparsity": 0.5}))
    refused = Ran(capsys, "--spec", str(spec))
    assert (refused.status, "sparsity" in refused.err) == (2, True)
    spec.write_text(json.dumps(asked(tiny_model)))
    assert Ran(capsys, "--spec", str(spec), "--json").status == 0
    assert Ran(capsys, "--spec", str(spec), "--seed", "1").status == 2
    refused = Ran(capsys, "--spec", str(spec), "--per-head")
    assert (refused.status, "sinks.per_head" in refused.err) == (2, True)
    assert Ran(capsys).status == 2
    assert Ran(capsys, str(tmp_path / "none")).status == 3
    assert Ran(capsys, *arguments(tiny_model), "--memory-budget", "1kB").status == 4
