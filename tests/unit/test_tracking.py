"""What a tracker is told of a result, what it is never told, and what cannot be meant."""

import json
import os
import sys
from pathlib import Path

import pytest

from core.errors import BadRequest, CorruptObject, TrackerError
from core.result import Result
from core.settings import Settings
from core.tracking.entry import MAX_VALUE, entry_of
from core.tracking.mlflow_run import log_result
from core.tracking.target import Target, bare, check_target
from tests.report_inputs import report_for
from tests.results import ARRAYS, write_result
from workers.configuration import Places
from workers.tracking import target_for

JOB = {
    **report_for(ARRAYS).job,
    "recipe": {"inputs": None, "allocation": [0.1] * 3000, "damping": 0.01},
    "calibration": {"source": "builtin:plain-text", "samples": 4},
    "webhook": {"url": "https://example.com/secret"},
    "metadata": {"team": "search"},
    "priority": 3,
}


def test_params_are_the_spec_as_resolved(tmp_path: Path) -> None:
    entry = entry_of(Result.open(write_result(tmp_path, job=JOB)), "job_a")
    assert entry.params["recipe.inputs"] == "noised"
    assert entry.params["recipe.damping"] == "0.01"
    assert entry.params["calibration.samples"] == "4"
    assert entry.params["model.revision"].startswith("sha256:")
    assert "secret" not in json.dumps(entry.params)
    assert not {name for name in entry.params if name.startswith(("metadata", "priority"))}
    assert entry.tags["metadata.team"] == "search"
    assert entry.tags["secateur.job"] == "job_a"
    assert entry.tags["version.torch"] == "2.13.0"


def test_what_is_too_long_is_cut_with_a_mark(tmp_path: Path) -> None:
    asked = {**JOB, "recipe": {"allocation_list": [0.1] * 3000}}
    entry = entry_of(Result.open(write_result(tmp_path, job=asked)))
    text = entry.params["recipe.allocation_list"]
    assert len(text) == MAX_VALUE
    assert text.endswith("…")
    assert "secateur.job" not in entry.tags


def test_blocks_and_layers_are_steps(tmp_path: Path) -> None:
    result = Result.open(write_result(tmp_path))
    points = entry_of(result).points
    sparsity = [(p.step, p.value) for p in points if p.name == "block_sparsity"]
    assert [step for step, _ in sparsity] == [0, 1, 2]
    matrices = result.report["sparsity"]["matrices"]
    first = [m for name, m in matrices.items() if ".0." in name]
    size = sum(m["shape"][0] * m["shape"][1] for m in first)
    assert sparsity[0][1] == sum(m["removed"] for m in first) / size
    assert {p.name for p in points} >= {"layer_mass_share", "layer_temporal_variance"}


def test_a_result_is_checked_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"manifest\.json"):
        Result.open(tmp_path)
    write_result(tmp_path)
    file = tmp_path / "report" / "report.json"
    whole = file.read_text()
    file.write_text(whole.replace("0.1234", "0.0234"))
    with pytest.raises(CorruptObject, match=r"report/report\.json"):
        Result.open(tmp_path)
    file.write_text(whole)
    result = Result.open(tmp_path)
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    with pytest.raises(CorruptObject, match=r"model/config\.json"):
        result.path(result.file("model/config.json"))


def test_a_report_of_another_version_is_named(tmp_path: Path) -> None:
    result = Result.open(write_result(tmp_path))
    result.report["sinks"]["new"] = 1
    with pytest.raises(CorruptObject, match=r"sinks\.new"):
        entry_of(result)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("file:///mlruns", "e"), "http://HOST:PORT"),
        (Target("sqlite:///mlflow.db", "e"), "http://HOST:PORT"),
        (Target("127.0.0.1:5000", "e"), "http://HOST:PORT"),
        (Target("http://h", "e", register="a/b"), "'a/b'"),
        (Target("http://h", "e", register="a' or '1"), "registered model"),
        (Target("http://h", "e", register="a"), "weights"),
        (Target("http://h", "e", register="a", source="file:///store/model"), "s3://"),
        (Target("http://h", "e", register="a", source="/store/model"), "s3://"),
    ],
)
def test_targets_that_cannot_be_meant(target: Target, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        check_target(target)


def test_no_secret_of_the_uri_is_repeated(tmp_path: Path) -> None:
    assert bare("http://user:word@[::1]:5000/base/?k=word") == "http://[::1]:5000/base"
    result = Result.open(write_result(tmp_path))
    with pytest.raises(TrackerError, match=r"http://127\.0\.0\.1:1 did not") as raised:
        log_result(result, Target("http://user:word@127.0.0.1:1", "e"))
    assert "word@" not in str(raised.value)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_without_mlflow_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackerError, match=r"secateur\[mlflow\]"):
        log_result(Result.open(write_result(tmp_path)), Target("http://h", "e"))


def test_workers_are_told_where_to_log() -> None:
    bucket = "s3://bucket/prefix?endpoint=http://127.0.0.1:1"
    assert target_for(Settings(), bucket, "jobs/a/1") is None
    settings = Settings(mlflow_tracking_uri="http://h:5000", mlflow_register="kjv")
    target = target_for(settings, bucket, "jobs/a/1")
    assert target == Target(
        "http://h:5000", "secateur", "kjv", source="s3://bucket/prefix/jobs/a/1/model"
    )
    local = settings.model_copy(
        update={"store_url": "file:///store", "database_url": "d", "broker_url": "b"}
    )
    with pytest.raises(BadRequest, match="registered model"):
        Places.of(local)
