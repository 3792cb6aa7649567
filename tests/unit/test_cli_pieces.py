"""What the command line makes of what was typed, and what it shows."""

import inspect
import io
import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from core.errors import BadRequest, Cancelled, DataError, InvalidSpec, OutputExists, SecateurError
from core.jobs.states import State
from core.jobs.views import Event, Failure, Job
from core.settings import Settings
from core.spec import parse_spec
from secateur.cli._board import board
from secateur.cli._checkup import checkup
from secateur.cli._comparison import comparison
from secateur.cli._local import byte_count, check_output
from secateur.cli._output import size
from secateur.cli._remote import raise_unless_succeeded, show
from secateur.cli._spec import Typed, as_source, spec_data
from secateur.cli._wanted import Wanted, takes_spec
from secateur.cli.analyze import sparkline, summary
from secateur.cli.demo import METHODS, fresh_folder, spec_of
from tests.report_inputs import Behaviour, analysis_for, report_for, sink_arrays
from tests.served import NOW


def test_only_what_was_typed_is_in_the_spec() -> None:
    data = spec_data(Typed(model="example:a", sparsity=0.5), None)
    assert data == {"model": {"source": "example:a"}, "sparsity": 0.5}
    whole = Typed("example:a", "wanda", 0.5, "unstructured", "builtin:plain-text", 4, 32, 7)
    spec = parse_spec(spec_data(whole, None))
    assert (spec.method, spec.pattern, spec.calibration.seed) == ("wanda", "unstructured", 7)
    assert (spec.calibration.samples, spec.calibration.sequence_length) == (4, 32)
    written = spec_data(Typed("example:a", sparsity=0.5, trajectory="generation"), None)
    assert parse_spec(written).calibration.trajectory == "generation"


def test_paths_become_file_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b#c").mkdir()
    (tmp_path / "example:odd").mkdir()
    assert as_source("a b#c") == f"{tmp_path.as_uri()}/a%20b%23c"
    assert as_source("/x/y") == "file:///x/y"
    assert as_source("missing") == f"{tmp_path.as_uri()}/missing"
    assert as_source("example:odd") == f"{tmp_path.as_uri()}/example%3Aodd"
    for source in ("example:kjv-dlm", "hf://a/b", "builtin:plain-text", "file:///x", "http://x/y"):
        assert as_source(source) == source


def test_a_spec_file_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"sparsity": 0.5, "model": {"source": "example:a"}}')
    assert spec_data(Typed(), file)["sparsity"] == 0.5
    with pytest.raises(BadRequest, match="method"):
        spec_data(Typed(method="wanda"), file)
    with pytest.raises(BadRequest, match="no model"):
        spec_data(Typed(sparsity=0.5), None)
    for text in ("{", "[]", "[" * 100_000):
        file.write_text(text)
        with pytest.raises(InvalidSpec):
            spec_data(Typed(), file)
    with pytest.raises(BadRequest, match="cannot read"):
        spec_data(Typed(), tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("8GB", 8 * 10**9), ("1.5 kb", 1500), ("512MiB", 512 * 2**20), ("2tib", 2 * 2**40)],
)
def test_amounts_of_memory(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "8 apples", "GB", "1e9", "nan", "1.2.3"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(BadRequest):
        byte_count(text)


def test_sizes_have_three_digits() -> None:
    assert [size(n) for n in (0, 999, 1000, 999_600, 123_456_789, 5e12, 5e15)] == [
        "0 B", "999 B", "1 kB", "1 MB", "123 MB", "5 TB", "5e+03 TB",
    ]  # fmt: skip


def test_force_never_deletes_what_is_not_ours(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_output(out, force=False)
    out.mkdir()
    with pytest.raises(OutputExists):
        check_output(out, force=False)
    check_output(out, force=True)
    (out / "thesis.tex").touch()
    with pytest.raises(OutputExists, match="delete"):
        check_output(out, force=True)
    (out / "manifest.json").touch()
    check_output(out, force=True)
    with pytest.raises(OutputExists):
        check_output(out / "thesis.tex", force=True)


def test_a_demo_replaces_only_a_demo(tmp_path: Path) -> None:
    folder = fresh_folder(tmp_path / "a" / "demo")
    (folder / "old").touch()
    assert not (fresh_folder(folder) / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(OutputExists):
        fresh_folder(tmp_path / "mine")
    assert (tmp_path / "mine" / "file").exists()
    with pytest.raises(OutputExists):
        fresh_folder(tmp_path / "mine" / "file")


def test_the_demo_asks_for_what_this_version_can_do() -> None:
    assert [parse_spec(spec_of(method)).method for method in METHODS] == list(METHODS)


def test_the_comparison_shows_the_reports_numbers() -> None:
    report = report_for(sink_arrays("drifting", samples=3, layers=2, positions=64))
    nelbo = report.quality.nelbo
    assert nelbo is not None
    shown = io.StringIO()
    Console(file=shown, width=120).print(comparison({"wanda": report, "sink-wanda": report}))
    rows = {line.split()[1]: line for line in shown.getvalue().splitlines() if "│" in line}
    assert {"dense", "wanda", "sink-wanda"} <= set(rows)
    assert f"{nelbo.dense:.4f}" in rows["dense"]
    assert f"{nelbo.pruned:.4f}" in rows["wanda"]
    assert f"{nelbo.difference:+.4f} ± {nelbo.stderr:.4f}" in rows["sink-wanda"]
    assert f"{report.sinks.temporal_variance.mean:.4g}" in rows["dense"]


def test_a_sparkline_stands_on_zero() -> None:
    assert sparkline([0.0, 1.0, None, 0.5]) == "▁█·▅"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([None]) == "·"


@pytest.mark.parametrize(("behaviour", "timesteps"), [("drifting", 10), ("none", 10), ("fixed", 1)])
def test_an_analysis_is_summarised_for_a_terminal(behaviour: Behaviour, timesteps: int) -> None:
    report = analysis_for(sink_arrays(behaviour, samples=2, layers=3, timesteps=timesteps))
    text = "\n".join(summary(report))
    assert "family llada (bidirectional attention), 3 blocks of 6 heads" in text
    assert "2 samples of 256 positions" in text
    assert ("temporal variance, relative  –" in text) == (timesteps == 1 or behaviour == "none")
    assert ("sinks at a timestep          0\n" in text) == (behaviour == "none")


def event(kind: str, message: str, **data: object) -> Event:
    return Event.model_validate(
        {
            "id": 1,
            "created_at": NOW,
            "level": "info",
            "type": kind,
            "message": message,
            "data": data,
        }
    )


def test_without_a_terminal_progress_is_a_line_per_step(capsys: pytest.CaptureFixture[str]) -> None:
    with board(["wanda"]) as shown:
        show(shown, "wanda", event("state", "queued", state="queued"))
        for percent in range(50):
            told = event("progress", f"sample {percent}", phase="analysing", progress=percent / 100)
            show(shown, "wanda", told)
        show(shown, "wanda", event("progress", "x", phase="pruning", progress=0.5))
        show(shown, "wanda", event("state", "succeeded", state="succeeded"))
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0].split() == ["wanda", "0%", "queued"]
    assert lines[-1].split() == ["wanda", "100%", "succeeded"]
    assert sum("analysing" in line for line in lines) == 5
    assert len(lines) == 8


def job(state: State, error: Failure | None = None) -> Job:
    return Job(
        id="job_x", state=state, phase=None, progress=1, message="", eta_seconds=None, attempt=1,
        epoch=1, created_at=NOW, started_at=None, finished_at=None, error=error, spec={},
        metadata={}, priority=0, version=1,
    )  # fmt: skip


def test_how_a_job_ended_is_how_the_command_ends() -> None:
    raise_unless_succeeded(job(State.SUCCEEDED))
    with pytest.raises(Cancelled):
        raise_unless_succeeded(job(State.CANCELLED))
    with pytest.raises(DataError) as failed:
        raise_unless_succeeded(job(State.FAILED, Failure(code="text-too-short", message="m")))
    assert failed.value.exit_status == 3
    with pytest.raises(SecateurError):
        raise_unless_succeeded(job(State.FAILED, Failure(code="unheard-of", message="m")))


def test_the_checkup_names_what_is_broken(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/never/made.db",
        broker_url="redis://user:secret@127.0.0.1:1/0",
        store_url=(tmp_path / "store").as_uri(),
        work_dir=tmp_path / "missing",
        device="cpu",
    )
    found = {finding.name: finding for finding in checkup(settings, "http://127.0.0.1:1")}
    broken = {name for name, finding in found.items() if finding.status == "broken"}
    assert broken == {"database", "broker", "disk"}
    assert found["store"].status == "ok"
    assert found["server"].status == "unset"
    assert "secret" not in json.dumps([finding.model_dump() for finding in found.values()])
    assert all(found[name].remedy for name in broken)


def test_a_verb_that_takes_a_spec_gets_what_was_typed_of_it(tmp_path: Path) -> None:
    heard: list[tuple[Wanted, Path, bool]] = []

    @takes_spec
    def verb(
        *,
        out: Annotated[Path, typer.Option("--out")],
        wanted: Wanted,
        force: Annotated[bool, typer.Option("--force")] = False,
    ) -> None:
        """Do it."""
        heard.append((wanted, out, force))

    app = typer.Typer()
    app.command()(verb)
    typed = [
        "example:a",
        "-s",
        "0.5",
        "-m",
        "wanda",
        "--pattern",
        "2:4",
        "--calibration",
        "builtin:t",
    ]
    numbers = ["--samples", "4", "--sequence-length", "32", "--seed", "7"]
    ended = CliRunner().invoke(app, ["--out", str(tmp_path), *typed, *numbers, "--force"])
    assert ended.exit_code == 0, ended.output
    whole = Typed("example:a", "wanda", 0.5, "2:4", "builtin:t", 4, 32, 7)
    assert heard == [(Wanted(whole, None), tmp_path, True)]
    assert heard[0][0].data() == spec_data(whole, None)
    assert CliRunner().invoke(app, ["--out", ".", "--spec", "s.json"]).exit_code == 0
    assert heard[1] == (Wanted(Typed(), Path("s.json")), Path(), False)
    said = CliRunner().invoke(app, ["--help"]).output
    assert "Do it." in said
    # In the place of `wanted`, and all of `Typed`.
    names = list(inspect.signature(verb).parameters)
    assert names == ["out", *Typed.__dataclass_fields__, "spec", "force"]
