"""Runs that name a second model to stand beside."""

from pathlib import Path
from typing import Any

import pytest

from core.analysis_spec import parse_analysis
from core.errors import InvalidSpec
from core.progress import Progress, ignore
from core.report import sinks_file
from core.report.schema import Report
from core.run import analyse, execute
from core.spec import parse_spec
from core.stages import RunOptions
from tests.family_checkpoints import tiny

VERSES = Path(__file__).parents[1] / "verses.txt"
OPTIONS = RunOptions(device="cpu", threads=1)
ASKED: dict[str, Any] = {
    "model": {"source": "example:kjv-dlm"},
    "control": {"source": "example:kjv-ar"},
    "calibration": {"samples": 2, "sequence_length": 48, "diffusion_steps": 10},
}
QUICK: dict[str, Any] = {
    "sparsity": 0.5,
    "method": "magnitude",
    "evaluation": {
        "nelbo": False, "agreement": False, "speed": False, "reconstruction": False,
        "sinks_after": False, "texts": 0,
    },
}  # fmt: skip


@pytest.mark.plots
def test_both_models_are_shown(tmp_path: Path) -> None:
    fractions: list[float] = []

    def watch(progress: Progress) -> None:
        fractions.append(progress.fraction)

    found = analyse(parse_analysis(ASKED), tmp_path / "out", OPTIONS, watch)
    assert fractions == sorted(fractions)
    assert found.control is not None
    assert (found.control.model.family, found.control.calibration.process) == ("llama", "prefixes")
    assert (found.model.family, found.calibration.process) == ("llada", "llada")
    folder = tmp_path / "out" / "report"
    other = sinks_file.read(folder / "control.safetensors")
    assert other.mass.shape[:2] == (2, 2)
    assert (folder / "plots" / "control.svg").is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "kjv-ar" in page
    alone = {name: value for name, value in ASKED.items() if name != "control"}
    plain = analyse(parse_analysis(alone), None, OPTIONS, ignore)
    assert plain.sinks == found.sinks


def test_a_job_has_the_same_model_with_or_without(tmp_path: Path) -> None:
    models = []
    for name, control in (("with", ASKED["control"]), ("without", None)):
        execute(parse_spec(ASKED | QUICK | {"control": control}), tmp_path / name, OPTIONS, ignore)
        report = (tmp_path / name / "report" / "report.json").read_bytes()
        assert (Report.model_validate_json(report).control is None) == (control is None)
        models.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert models[0] == models[1]


@pytest.mark.plots
def test_what_sinks_are_worth_is_asked_of_both(tmp_path: Path) -> None:
    asked = {
        "model": {"source": tiny(tmp_path / "writes-by-uncovering", "llada").as_uri()},
        "control": {"source": tiny(tmp_path / "writes-onwards", "llama").as_uri()},
        "calibration": {"source": VERSES.as_uri(), "samples": 2, "sequence_length": 24,
                        "sample_interval": 25},
    }  # fmt: skip
    found = analyse(parse_analysis(asked | {"knockout": True}), tmp_path / "out", OPTIONS, ignore)
    assert found.knockout is not None
    assert found.control is not None
    assert found.control.knockout is not None
    names = [condition.name for condition in found.knockout.conditions]
    assert [condition.name for condition in found.control.knockout.conditions] == names
    assert found.control.knockout.conditions[0].loss != found.knockout.conditions[0].loss
    page = (tmp_path / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count('<th scope="col">hidden</th>') == 2
    assert "writes-onwards, the control, by place in the text" in page


def test_a_job_asks_its_control_on_as_much_text_as_its_model(tmp_path: Path) -> None:
    asked = {
        "model": {"source": tiny(tmp_path / "one", "llada").as_uri()},
        "control": {"source": tiny(tmp_path / "other", "llama").as_uri()},
        "calibration": {"source": VERSES.as_uri(), "samples": 2, "sequence_length": 24,
                        "sample_interval": 25},
        **QUICK,
    }  # fmt: skip
    asked["evaluation"] = QUICK["evaluation"] | {"knockout": True, "samples": 3}
    execute(parse_spec(asked), tmp_path / "out", OPTIONS, ignore)
    report = Report.model_validate_json((tmp_path / "out/report/report.json").read_bytes())
    assert report.quality.knockout is not None
    assert report.control is not None
    assert report.control.knockout is not None
    assert report.control.knockout.samples == report.quality.knockout.samples == 3


def test_a_token_file_has_one_vocabulary() -> None:
    tokens = ASKED["calibration"] | {"source": "file:///x.safetensors"}
    for parse, more in ((parse_analysis, {}), (parse_spec, QUICK)):
        with pytest.raises(InvalidSpec) as refused:
            parse(ASKED | more | {"calibration": tokens})
        assert refused.value.fields[0]["field"] == "control"
