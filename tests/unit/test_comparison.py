"""Reports side by side, be they whole, partial or nonsense: rows, labels, warnings, and the page."""

import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.comparison import plot, words
from core.comparison.compare import compare
from core.comparison.document import Comparison
from core.comparison.page import page
from core.comparison.reading import Source, parsed, row_of
from core.report.schema import Quality
from tests.fuzz.documents import ANYTHING, changed
from tests.report_inputs import analysis_for, nelbo, report_for, sink_arrays

ARRAYS = sink_arrays("drifting", samples=2, timesteps=4, layers=2, positions=64)
WHOLE: dict[str, Any] = json.loads(report_for(ARRAYS).model_dump_json())
HOSTILE = '<script>alert("x")</script>&{{ 7*7 }}'


def altered(path: str = "", value: Any = None, document: dict[str, Any] = WHOLE) -> dict[str, Any]:
    """A copy with one value set, or taken away where that is None."""
    found = json.loads(json.dumps(document))
    if path:
        *way, last = path.split(".")
        place = found
        for step in way:
            place = place.setdefault(step, {})
        place.pop(last, None) if value is None else place.update({last: value})
    return dict(found)


def costing(difference: float, stderr: float = 0.004, **job: Any) -> dict[str, Any]:
    quality = Quality(nelbo=nelbo(difference, stderr), agreement=None)
    report = json.loads(report_for(ARRAYS, quality=quality).model_dump_json())
    report["job"] |= job
    report["sparsity"]["overall"] = job.get("sparsity", 0.5)
    return dict(report)


def compared(*reports: dict[str, Any]) -> Comparison:
    return compare([Source(f"job_{n}", report) for n, report in enumerate(reports)])


def test_a_row_has_the_reports_numbers() -> None:
    row = row_of(Source("a", WHOLE), 3, "label")
    assert (row.number, row.name, row.method, row.pattern) == (3, "a", "sink-wanda", "unstructured")
    assert row.difference is not None
    assert (row.difference.value, row.difference.stderr) == (0.1234, 0.0042)
    assert row.dense is not None
    assert (row.dense.value, row.dense.stderr) == (1.5432, 0.031)
    assert row.agreement is not None
    assert row.agreement.value == 0.871
    assert (row.seconds, row.peak_bytes, row.sparsity) == (44.2, 790_000_000, 0.5)
    assert row.recipe.sinks == "discount-all"
    assert row.transient_share is not None
    assert row.transient_share.value == WHOLE["sinks"]["transient_share"]["mean"]
    assert row.missing == []


def test_what_is_missing_is_a_dash_and_named() -> None:
    found = compared(WHOLE, altered("quality.nelbo"), altered("sinks"))
    second, third = found.rows[1:]
    assert second.missing == [
        "loss of the dense model",
        "loss of the pruned model",
        "difference in loss",
    ]
    assert "transient share" in third.missing
    assert words.cells(second)[1:4] == ["–", "–", "–"]
    text = page(found)
    assert "2 (sink-wanda #2) has no loss of the dense model" in text
    assert "Not shown, for want of numbers: 2." in text


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("model.revision", "sha256:other", "model revision"),
        ("quality.nelbo.text", "another text", "evaluation text"),
        ("seeds.evaluation", 9, "evaluation seed"),
        ("quality.nelbo.samples", 4, "evaluation samples"),
        ("quality.nelbo.tokens", 40, "evaluation tokens"),
        ("seeds.calibration", 9, "calibration seed"),
        ("model.revision", None, "model revision"),
    ],
)
def test_losses_of_different_questions_are_not_compared(path: str, value: Any, what: str) -> None:
    found = compared(WHOLE, altered(path, value), WHOLE)
    assert not found.comparable
    assert [each.what for each in found.differs] == [what]
    assert found.differs[0].values["2"] == ("unknown" if value is None else f"{value}")
    assert found.warnings[0].startswith(f"The {what} differs: 1 and 3: ")
    assert "may not be compared" in page(found)


def test_those_of_the_same_question_are() -> None:
    found = compared(WHOLE, costing(0.2, method="wanda"), altered("quality.nelbo"))
    assert found.comparable
    assert found.differs == []
    assert found.warnings == []
    assert "can be compared" in page(found)


def test_other_machines_may_round_and_other_models_may_not_hide() -> None:
    dense = WHOLE["quality"]["nelbo"]["dense"]
    assert compared(WHOLE, altered("quality.nelbo.dense", dense * (1 + 1e-6))).comparable
    off = compared(WHOLE, altered("quality.nelbo.dense", dense * 1.01))
    assert not off.comparable
    assert "dense model's loss differs" in off.warnings[0]


def test_calibration_samples_matter_where_the_text_has_no_part_of_its_own() -> None:
    few, many = (altered("job.calibration", {"samples": n, "noise_eps": 1e-3}) for n in (4, 8))
    assert compared(few, many).comparable
    few, many = (altered("calibration.source", "file:///a.txt", each) for each in (few, many))
    assert [each.what for each in compared(few, many).differs] == ["calibration samples"]


def test_other_kinds_and_later_versions_are_told_of() -> None:
    analysis = json.loads(analysis_for(ARRAYS).model_dump_json())
    found = compared(WHOLE, analysis, altered("schema_version", 2), altered("kind", "poem"))
    assert any("2 is an analysis" in each for each in found.warnings)
    assert any("3 has schema version 2" in each for each in found.warnings)
    assert any("4 is no report of a kind" in each for each in found.warnings)
    assert "nothing to plot" in compared({}, analysis).warnings[-1]


def test_labels_tell_rows_apart_in_few_words() -> None:
    reports = [
        costing(0.1, method=m, sparsity=s) for m in ("wanda", "sparsegpt") for s in (0.5, 0.75)
    ]
    assert [row.label for row in compared(*reports).rows] == [
        "wanda, 0.5", "wanda, 0.75", "sparsegpt, 0.5", "sparsegpt, 0.75",
    ]  # fmt: skip
    assert [row.label for row in compared(WHOLE, WHOLE).rows] == ["sink-wanda #1", "sink-wanda #2"]
    kept = altered("recipe.sinks", "keep")
    assert [row.label for row in compared(WHOLE, kept).rows] == [
        "sink-wanda, discount-all", "sink-wanda, keep",
    ]  # fmt: skip


def test_a_job_without_a_report_shows_what_was_asked_of_it() -> None:
    job = {"method": "wanda", "sparsity": 0.5, "recipe": {"sinks": "discount-all"}}
    row = compare([Source("a", {"job": job}, "failed: bad-data")]).rows[0]
    assert (row.note, row.asked_sparsity, row.sparsity) == ("failed: bad-data", 0.5, None)
    recipe = row.recipe
    assert (recipe.score, recipe.inputs, recipe.sinks) == ("wanda", "clean", "discount-all")


class Balanced(HTMLParser):
    """Notes scripts, and tags that are not closed in order."""

    EMPTY = frozenset({"meta", "br", "img", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> set[str]:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert "script" not in parser.seen
    assert not re.search(r'(?:src|href)="', text)
    return parser.seen


def test_the_page_stands_alone_and_no_name_is_markup() -> None:
    hostile = altered("model.source", HOSTILE, altered("job.method", HOSTILE))
    text = page(compared(hostile, costing(0.2), costing(0.3, sparsity=0.75)), HOSTILE)
    assert {"svg", "table", "style"} <= checked(text)
    assert "{{ 7*7 }}" in text
    assert "default-src 'none'" in text
    assert page(compared(WHOLE)) == page(compared(WHOLE))


@settings(max_examples=12, deadline=None)
@given(documents=st.lists(ANYTHING | changed(WHOLE), min_size=1, max_size=4))
def test_no_document_is_too_strange(documents: list[Any]) -> None:
    read = [parsed(json.dumps(each).encode()) for each in documents]
    found = compare([Source("x", each or {}) for each in read])
    assert Comparison.model_validate_json(found.model_dump_json()) == found
    checked(page(found))


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b'"a"', b"NaN"])
def test_what_is_no_report_is_none(data: bytes) -> None:
    assert parsed(data) is None


def drawing(comparison: Comparison, width: float = 900) -> ElementTree.Element:
    return ElementTree.fromstring(plot.svg(plot.plotted(comparison), width))


def tags(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def test_bars_are_one_standard_error_long() -> None:
    """On the axis that the ticks are on: between two ticks lies what their numbers say."""
    root = drawing(compared(costing(0.1, 0.02, sparsity=0.5), costing(0.3, 0.05, sparsity=0.75)))
    ticks = {
        float((each.text or "").replace("\N{MINUS SIGN}", "-")): float(each.get("y", "0"))
        for each in tags(root, "text")
        if each.get("text-anchor") == "end" and each.get("class") is None
    }
    (low, low_y), *_, (high, high_y) = sorted(ticks.items())
    pixels = (low_y - high_y) / (high - low)
    bars = [re.match(r"M\S+ ([\d.]+)V([\d.]+)M", p.get("d", "")) for p in tags(root, "path")]
    lengths = [float(bar[1]) - float(bar[2]) for bar in bars if bar]
    assert lengths == pytest.approx([2 * 0.02 * pixels, 2 * 0.05 * pixels], abs=0.2)
    assert 0.0 in ticks


@pytest.mark.parametrize("width", [900, 360])
def test_eight_points_have_shapes_and_labels_of_their_own(width: float) -> None:
    reports = [costing(0.1, method=f"method-{n}") for n in range(8)]
    root = drawing(compared(*reports), width)
    labels = [each.text or "" for each in tags(root, "text") if each.get("class") == "label"]
    assert [label[:1] for label in labels] == list("12345678")
    points = [g for g in tags(root, "g") if any(part.tag.endswith("title") for part in g)]
    shapes = {ElementTree.tostring(list(point)[-1]) for point in points}
    assert len(shapes) == 8
    across = {float(each.get("x", "0")) for each in tags(root, "text")}
    assert all(0 <= x <= width for x in across)


def test_more_points_are_told_apart_by_a_key() -> None:
    reports = [
        costing(0.1 * n, method=m, sparsity=0.1 * n)
        for m in ("wanda", "sparsegpt")
        for n in range(1, 8)
    ]
    root = drawing(compared(*reports))
    keys = [each.text for each in tags(root, "text") if each.get("class") == "named"]
    assert [key and key.partition(",")[0] for key in keys] == ["wanda", "sparsegpt"]
    assert len(tags(root, "polyline")) == 2


def test_an_error_that_is_unknown_has_no_bar() -> None:
    found = compared(altered("quality.nelbo.stderr"), costing(0.2))
    assert "1 point came without one." in page(found)
    assert (
        sum("V" in p.get("d", "") and "h8" in p.get("d", "") for p in tags(drawing(found), "path"))
        == 1
    )
