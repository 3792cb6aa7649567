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
from secateur.cli import main
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
    folder = tmp_path / "report"
    build.write(deep_report(ARRAYS, OTHER), ARRAYS, folder, OTHER)
    sinks_file.write(folder / "sinks.safetensors", ARRAYS)
    sinks_file.write(folder / "control.safetensors", OTHER)
    before = {path.name: path.read_bytes() for path in (folder / "plots").iterdir()}
    found = rebuild(tmp_path, folder)
    assert found.missing == ()
    assert found.html == (folder / "report.html").read_text(encoding="utf-8")
    assert {path.name: path.read_bytes() for path in (folder / "plots").iterdir()} == before
    (folder / "control.safetensors").unlink()
    assert "control.safetensors" in " ".join(rebuild(tmp_path, folder).missing)


def status(*arguments: object) -> int | str | None:
    """Of `secateur report` with these arguments."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, arguments)])
    return ended.value.code


def test_a_page_that_lies_elsewhere_names_no_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.write(report_for(ARRAYS), ARRAYS, tmp_path / "result" / "report")
    sinks_file.write(tmp_path / "result" / "report" / "sinks.safetensors", ARRAYS)
    out = tmp_path / "elsewhere" / "page.html"
    out.parent.mkdir()
    assert status(tmp_path / "result", "--out", out) == 0
    assert capsys.readouterr().out == f"page  {out}\n"
    page = out.read_text(encoding="utf-8")
    assert "Files beside this page" not in page
    assert "<a href=" not in page
    assert (out.parent / "plots" / "mass.svg").is_file()
    assert status(tmp_path / "result", "--out", out) == 2
    assert status(tmp_path, out.parent, "--out", out, "--force") == 2
    capsys.readouterr()
    (tmp_path / "result" / "report" / "sinks.safetensors").unlink()
    assert status(tmp_path / "result", "--out", out, "--force", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == str(out)
    assert told["missing"][0].startswith("sinks.safetensors")


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
