"""A report from what is left of a result, and the schema that reports are published under."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadRequest
from core.report import build, sinks_file
from core.report.json_schema import json_schema
from core.report.reading import read
from core.report.rebuild import rebuild
from core.report.schema import Report
from tests.deep_inputs import deep_report
from tests.report_inputs import analysis_for, report_for, sink_arrays
from tools.report_schema import PAGE, text

ARRAYS = sink_arrays("drifting", samples=2, timesteps=3, layers=2, positions=24)
OTHER = sink_arrays("fixed", samples=2, timesteps=3, layers=2, positions=24)
WHOLE: dict[str, Any] = deep_report(ARRAYS, OTHER).model_dump(mode="json")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [at] if at else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in items:
        found += paths(each, (*at, key))
    return found


PLACES = paths(WHOLE)


def damaged(place: tuple[Any, ...], by: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(WHOLE))
    within: Any = document
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = by
    return document


def test_a_whole_report_is_read_whole() -> None:
    for made in (Report.model_validate(WHOLE), report_for(ARRAYS), analysis_for(ARRAYS)):
        found = read(made.model_dump(mode="json"))
        assert found.missing == ()
        assert {name: found.parts[name] for name in type(made).model_fields} == dict(made)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from([None, "x", -1, [], {}, [[]], {"a": 1}, True]))
def test_one_damaged_place_costs_at_most_its_part(place: tuple[Any, ...], by: Any) -> None:
    found = read(damaged(place, by))
    page = build.page(found, [], found.missing)
    assert "</html>" in page
    for name in Report.model_fields:
        if name not in (place[0], "kind", "schema_version") and WHOLE["kind"] == found.kind:
            assert found.parts[name] == getattr(Report.model_validate(WHOLE), name), name


@pytest.mark.parametrize("document", [None, [], "x", {}, {"kind": "analysis"}, {"sinks": 3}])
def test_whatever_is_no_report_still_gives_a_page(document: Any) -> None:
    found = read(document)
    assert found.missing
    assert found.missing[0] in build.page(found, [], found.missing).replace("&#39;", "'")


def test_a_page_is_made_anew_from_its_files(tmp_path: Path) -> None:
    report = report_for(ARRAYS)
    build.write(report, ARRAYS, tmp_path / "report")
    sinks_file.write(tmp_path / "report" / "sinks.safetensors", ARRAYS)
    found = rebuild(tmp_path, tmp_path / "anew")
    assert found.missing == ()
    assert found.html == (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(WHOLE))
    found = rebuild(tmp_path, tmp_path / "plots")
    assert [line for line in found.missing if line.startswith("sinks.safetensors")]
    assert 'id="loss-by-timestep"' in found.html
    assert 'id="mass"' not in found.html
    sinks_file.write(tmp_path / "sinks.safetensors", sink_arrays("fixed", samples=1, timesteps=2))
    assert "other timesteps" in " ".join(rebuild(tmp_path, tmp_path / "plots").missing)
    (tmp_path / "sinks.safetensors").write_bytes(b"no safetensors")
    assert "cannot be read" in " ".join(rebuild(tmp_path, tmp_path / "plots").missing)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(BadRequest, match="holds no report"):
        rebuild(tmp_path, tmp_path / "plots")


def test_the_published_schema_is_the_reports_own() -> None:
    assert PAGE.read_text(encoding="utf-8") == text()
    assert json_schema()["$schema"].startswith("https://json-schema.org/")
