"""The report folder for every kind of model: complete, self-contained, safe and reproducible."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from core.report import build
from core.report.figures import picture
from core.report.plots import all_plots
from core.report.schema import (
    AnalysisReport,
    MatrixSparsity,
    Quality,
    Report,
    SparsityFacts,
)
from core.report.sinks_file import SinkArrays
from tests.report_inputs import analysis_for, expert_sparsity, report_for, sink_arrays

ROOT = Path(__file__).parents[2]
VOID = {"meta", "link", "br", "img", "hr", "input"}
SHAPES: dict[str, dict[str, Any]] = {
    "drifting": {"behaviour": "drifting"},
    "fixed": {"behaviour": "fixed"},
    "none": {"behaviour": "none"},
    "smallest": {"behaviour": "fixed", "samples": 1, "timesteps": 1, "layers": 1, "positions": 16},
    "largest": {
        "behaviour": "drifting", "samples": 2, "timesteps": 50, "layers": 80, "positions": 4096,
    },
}  # fmt: skip


class Page(HTMLParser):
    """What a page refers to, and whether its elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name in ("href", "src", "xlink:href") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids[value] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _write(tmp_path: Path, arrays: SinkArrays, report: Report) -> tuple[Page, str]:
    build.write(report, arrays, tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    return Page(html), html


@pytest.mark.parametrize("name", SHAPES)
def test_is_complete_and_needs_nothing_beside_it(tmp_path: Path, name: str) -> None:
    arrays = sink_arrays(**SHAPES[name])
    report = report_for(arrays)
    page, html = _write(tmp_path, arrays, report)
    folder = tmp_path / "report"
    assert Report.model_validate_json((folder / "report.json").read_bytes()) == report
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "img"} & page.tags.keys()
    assert "@import" not in html
    for link in page.links:
        if link.startswith("#"):
            assert page.ids[link[1:]] == 1, link
        elif link.startswith("plots/"):
            kind = b"<?xml" if link.endswith(".svg") else b"\x89PNG"
            assert (folder / link).read_bytes().startswith(kind)
        else:
            files = {"report.json", "sinks.safetensors", "../model/README.md", "../manifest.json"}
            assert link in files or link.startswith("data:image/png;base64,"), link
    for used in re.findall(r"url\(#([^)]+)\)", html):
        assert page.ids[used] == 1, used
    assert len(html) < 3_000_000
    assert "nan" not in page.text.lower().split()
    assert ("No sinks were found" in page.text) == (name == "none")
    moving = name not in ("none", "smallest")
    assert ("Where the sinks wander" in page.text) == moving
    assert ("A single timestep was watched" in page.text) == (name == "smallest")


def test_numbers_reach_the_page() -> None:
    page = Page(build.page(report_for(sink_arrays("drifting", samples=2)), []))
    for shown in ("0.1234 ± 0.0042", "1.543 ± 0.031", "5.29", "discount-all", "calibration 0"):
        assert shown in page.text


def test_what_was_not_measured_is_said() -> None:
    arrays = sink_arrays("fixed", samples=2)
    report = report_for(arrays, quality=Quality(nelbo=None, agreement=None), speed=None)
    page = Page(build.page(report, []))
    for shown in ("The loss was not measured", "Agreement", "Speed was not measured"):
        assert shown in page.text


@pytest.mark.parametrize("name", ["drifting", "none", "smallest"])
def test_an_analysis_shows_what_it_has_and_no_more(tmp_path: Path, name: str) -> None:
    arrays = sink_arrays(**SHAPES[name])
    report = analysis_for(arrays)
    build.write(report, arrays, tmp_path / "report")
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    written = (tmp_path / "report" / "report.json").read_bytes()
    assert AnalysisReport.model_validate_json(written) == report
    for shown in ("Sink analysis", "nothing was pruned", "What the analysis took"):
        assert shown in page.text
    for absent in ("removed", "quality", "Speed", "model card", "method"):
        assert absent not in page.text.replace("what a method does with sinks", "")
    assert "../model/README.md" not in page.links


def test_a_report_of_either_kind_is_not_the_other() -> None:
    arrays = sink_arrays("fixed", samples=2)
    with pytest.raises(ValueError, match="kind"):
        AnalysisReport.model_validate(report_for(arrays).model_dump())
    with pytest.raises(ValueError, match="kind"):
        Report.model_validate(analysis_for(arrays).model_dump())


def test_each_blocks_share_is_drawn_where_they_differ() -> None:
    arrays = sink_arrays("drifting", samples=2)
    report = report_for(arrays)
    assert "allocation" not in {plot.name for plot in all_plots(report, arrays)}
    shares = [0.58, 0.55, 0.52, 0.48, 0.45, 0.42]
    facts = report.sparsity.model_copy(update={"blocks": shares})
    report = report.model_copy(update={"sparsity": facts})
    plots = {plot.name: plot for plot in all_plots(report, arrays)}
    assert "50.0" in plots["allocation"].caption
    drawn = picture(plots["allocation"])
    page = Page(build.page(report, [drawn]))
    assert "What each block lost" in page.text
    # What lost more is hatched, so that no colour is needed to tell it.
    assert "pattern" in Page(drawn.svg).tags


def test_experts_that_were_not_reached_are_named() -> None:
    arrays = sink_arrays("fixed", samples=2)
    unreached = [f"model.layers.1.mlp.experts.{e}.up_proj.weight" for e in (3, 4)]
    facts = expert_sparsity(2, 8)
    report = report_for(arrays, sparsity=facts)
    report = report.model_copy(
        update={"model": report.model.model_copy(update={"experts": 8, "active_experts": 2})}
    )
    text = Page(build.page(report, [])).text
    assert "Calibration reached every expert" in text
    assert "biases, routers and the output head" in text
    facts = facts.model_copy(update={"unreached": unreached})
    text = Page(build.page(report.model_copy(update={"sparsity": facts}), [])).text
    assert "2 matrices of experts were reached by no calibration token" in text
    assert "3 to 4" in text


def test_a_likelihood_is_not_called_a_bound() -> None:
    arrays = sink_arrays("fixed", samples=2)
    report = report_for(arrays)
    quality = report.quality.model_copy(update={"objective": "likelihood"})
    model = report.model.model_copy(update={"attention": "causal"})
    facts = report.calibration.model_copy(update={"process": "uniform", "replaces": True})
    changes = {"quality": quality, "model": model, "calibration": facts}
    text = Page(build.page(report.model_copy(update=changes), [])).text
    assert "Exact negative log-likelihood" in text
    for untrue in ("NELBO", "at most", "masked positions", "same masks"):
        assert untrue not in text


@pytest.mark.parametrize(
    ("changes", "label", "downwards"),
    [
        ({}, "becomes text", "writing runs downwards"),
        ({"process": "uniform", "replaces": True}, "gives way to text", "text clears downwards"),
        ({"process": "recorded"}, "timestep by timestep", "last recorded timestep is on top"),
    ],
)
def test_the_heatmap_says_which_way_time_runs(
    changes: dict[str, Any], label: str, downwards: str
) -> None:
    arrays = sink_arrays("drifting", samples=2)
    report = report_for(arrays)
    facts = report.calibration.model_copy(update=changes)
    mass = all_plots(report.model_copy(update={"calibration": facts}), arrays)[0]
    assert label in mass.title
    assert downwards in mass.caption


def test_a_clean_text_has_no_masked_share() -> None:
    arrays = sink_arrays("fixed", samples=2, timesteps=1)
    report = report_for(arrays)
    facts = report.calibration.model_copy(update={"corrupted": [0.0], "timesteps": [0]})
    plots = all_plots(report.model_copy(update={"calibration": facts}), arrays)
    figure = plots[0].draw(6.0)
    drawn = [axes.get_ylabel() for axes in figure.axes[0].child_axes]
    assert drawn == []
    assert [
        axes.get_ylabel() for axes in all_plots(report, arrays)[0].draw(6.0).axes[0].child_axes
    ] == ["masked share of the text"]
    assert {plot.name for plot in plots} == {"mass", "mass-by-block-and-sample", "spatial-variance"}


def test_text_from_the_job_is_never_markup() -> None:
    arrays = sink_arrays("fixed", samples=2)
    evil = "</pre></style><script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    report = report_for(arrays, warnings=[evil])
    facts = report.model.model_copy(update={"source": f"example:{evil}", "family": evil})
    job = report.job | {"metadata": {"team": evil}, "method": evil}
    matrices = {f"blocks.0.{evil}": MatrixSparsity(shape=(2, 2), removed=2, fraction=0.5)}
    report = report.model_copy(
        update={
            "model": facts,
            "job": job,
            "recipe": {evil: evil},
            "versions": {evil: evil},
            "sparsity": SparsityFacts(overall=0.5, matrices=matrices),
        }
    )
    html = build.page(report, [])
    page = Page(html)
    assert page.open == []
    assert not {"script", "img"} & page.tags.keys()
    assert "<script" not in html
    assert "alert('x')" in page.text
    assert "{{ 7 * 7 }}" in page.text


AGAIN = """
import hashlib, pathlib, sys
from core.report import build
from tests.report_inputs import report_for, sink_arrays
arrays = sink_arrays("drifting", samples=1, timesteps=3, layers=1)
build.write(report_for(arrays), arrays, pathlib.Path(sys.argv[1]))
"""


def test_same_inputs_same_bytes_in_another_process(tmp_path: Path) -> None:
    arrays = sink_arrays("drifting", samples=1, timesteps=3, layers=1)
    build.write(report_for(arrays), arrays, tmp_path / "here")
    # Neither the hash seed, nor the time zone, nor the user's own matplotlib settings may show.
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: none\n")
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
        "SOURCE_DATE_EPOCH": "1",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "there")]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    assert _digests(tmp_path / "here") == _digests(tmp_path / "there")


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_blocks_without_sinks_are_counted_not_drawn() -> None:
    arrays = sink_arrays("drifting", samples=2)
    document = report_for(arrays).model_dump()
    for layer in document["sinks"]["per_layer"][::2]:
        layer["temporal_variance_relative"] = {"mean": None, "stderr": None}
    plots = {plot.name: plot for plot in all_plots(Report.model_validate(document), arrays)}
    assert "3 blocks without sinks" in plots["temporal-variance"].caption
    assert picture(plots["temporal-variance"]).png.startswith(b"\x89PNG")
    for layer in document["sinks"]["per_layer"]:
        layer["temporal_variance_relative"] = {"mean": None, "stderr": None}
    plots = {plot.name: plot for plot in all_plots(Report.model_validate(document), arrays)}
    assert "temporal-variance" not in plots
