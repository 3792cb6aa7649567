"""Estimates over HTTP, from buckets, and at the command line."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import SourceRefused
from core.store.s3_options import S3Options
from secateur.client import Client
from tests.buckets import new_bucket
from tests.checkpoints import tiny_llada
from tests.commands import Run, runner
from tests.faults.farm import wait_for
from tests.faulty_proxy import faulty_proxy
from tests.hub import COMMIT, asked_by_default
from tests.s3_folders import put, put_folder
from tests.served import Served, served

EXAMPLE = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that knows the memory and the device of its workers."""
    with served(tmp_path_factory.mktemp("e"), memory_budget=2 << 30, device="cpu") as running:
        yield running


def estimate(server: Served, **more: Any) -> Any:
    return server.http.post("/v1/estimate", json={**EXAMPLE, **more})


def test_an_estimate_over_http(bounded: Served) -> None:
    answer = estimate(bounded)
    assert answer.status_code == 200
    found = answer.json()
    assert found["plan"]["fits"] is True
    assert found["plan"]["memory_budget"] == 2 << 30
    assert found["model"]["revision"].startswith("sha256:")
    assert found["seconds"] is None
    assert found["warnings"] == [
        "calibration.sequence_length 1024 exceeds the model's context: 256 used"
    ]


def test_a_dry_run_answers_the_same_and_queues_nothing(bounded: Served) -> None:
    answer = bounded.http.post("/v1/jobs?dry_run=true", json=EXAMPLE)
    assert answer.status_code == 200
    assert answer.json() == estimate(bounded).json()
    assert "location" not in answer.headers
    assert bounded.http.get("/v1/jobs").json()["data"] == []


def test_a_folder_of_the_server(bounded: Served) -> None:
    tiny_llada(bounded.folder / "models" / "a")
    found = bounded.http.post("/v1/estimate", json=bounded.spec()).json()
    assert found["model"]["family"] == "llada"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"pattern": "5:9", "sparsity": None}, 422, "invalid-spec"),
        ({"sparsity": 2}, 422, "invalid-spec"),
        ({"pattern": "structured:ffn"}, 422, "not-available"),
        ({"model": {"source": "hf://org/name"}}, 422, "source-refused"),
        ({"model": {"source": "file:///etc"}}, 422, "source-refused"),
        ({"model": {"source": "s3://bucket/model"}}, 422, "source-refused"),
        ({"model": {"source": "example:none"}}, 422, "model-not-found"),
        ({"calibration": {"source": "builtin:none"}}, 422, "text-not-found"),
        ({"output": {"push": "s3://bucket/place"}}, 422, "destination-refused"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/estimate", "/v1/jobs?dry_run=true"])
def test_refusals_are_those_of_a_job(
    bounded: Served, path: str, change: dict[str, Any], status: int, code: str
) -> None:
    body = {name: value for name, value in {**EXAMPLE, **change}.items() if value is not None}
    answer = bounded.http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["remedy"] or code in ("invalid-spec", "not-available")


def test_seconds_come_from_the_tenants_own_last_jobs(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as server:
        for seconds in (10, 20, 90):
            report = {"actual": {"flops": 2e12, "seconds": seconds}}
            server.succeeded({"report/report.json": json.dumps(report).encode()})
        server.succeeded({"report/report.json": b"[]"})
        server.succeeded({"model/config.json": b"{}"})
        other = {"actual": {"flops": 2e12, "seconds": 1e-3}}
        server.succeeded({"report/report.json": json.dumps(other).encode()}, "somebody else")

        def is_right() -> bool:
            found = estimate(server).json()
            return bool(found["seconds"] == pytest.approx(found["plan"]["flops"] / 1e11))

        # What a slow machine could not read in time is read for the next one.
        wait_for(is_right, "the rate of all its jobs", seconds=20)


def test_a_model_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_llada(tmp_path / "model")
    with asked_by_default(monkeypatch) as hub:
        hub.put(folder)
        with served(tmp_path, hub_models=("hf://org",)) as server:
            found = estimate(server, model={"source": "hf://org/name"}).json()
            other = estimate(server, model={"source": "hf://else/name"})
    assert (found["model"]["family"], found["model"]["revision"]) == ("llada", COMMIT)
    assert (other.status_code, other.json()["code"]) == (422, "source-refused")


@pytest.fixture
def bucket(s3: str) -> S3Options:
    return new_bucket(s3)


def from_bucket(tmp_path: Path, endpoint: str, bucket: S3Options, **more: Any) -> Any:
    place = f"s3://{bucket.bucket}?endpoint={endpoint}"
    with served(tmp_path / "server", source_buckets=(place,)) as server:
        return estimate(server, **more)


@pytest.fixture
def server_folder(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()


@pytest.mark.usefixtures("server_folder")
def test_a_model_in_a_bucket_is_read_by_range(tmp_path: Path, s3: str, bucket: S3Options) -> None:
    folder = tiny_llada(tmp_path / "model", shards=3)
    source = put_folder(bucket, "model", folder)
    with faulty_proxy(s3) as proxy:
        found = from_bucket(tmp_path, proxy.url, bucket, model={"source": source}).json()
        weights = [line for line in proxy.seen if ".safetensors" in line and "GET" in line]
    with served(tmp_path) as server:
        (tmp_path / "models").mkdir()
        folder.rename(tmp_path / "models" / "a")
        local = server.http.post("/v1/estimate", json=server.spec()).json()
    assert found["plan"] == local["plan"]
    assert found["model"] == local["model"] | {"source": source, "revision": None}
    assert len(weights) == 4  # the index, and each shard once


@pytest.mark.usefixtures("server_folder")
def test_what_a_bucket_may_not_hold(tmp_path: Path, s3: str, bucket: S3Options) -> None:
    folder = tiny_llada(tmp_path / "model")
    shard = folder / "model.safetensors"
    shard.write_bytes(b"\xff" * 7 + b"\0" + shard.read_bytes())
    model = {"source": put_folder(bucket, "model", folder)}
    answer = from_bucket(tmp_path, s3, bucket, model=model)
    assert (answer.status_code, answer.json()["code"]) == (422, "broken-checkpoint")
    answer = from_bucket(tmp_path, s3, bucket, model={"source": f"s3://{bucket.bucket}/none"})
    assert (answer.status_code, answer.json()["code"]) == (422, "model-not-found")
    tokens = {"source": put(bucket, "tokens.safetensors", b"none at all")}
    answer = from_bucket(tmp_path, s3, bucket, calibration=tokens)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-token-file")


@pytest.mark.usefixtures("server_folder")
def test_a_store_that_is_away_is_no_fault_of_the_server(
    tmp_path: Path, s3: str, bucket: S3Options
) -> None:
    model = {"source": f"s3://{bucket.bucket}/model"}
    start = time.monotonic()
    answer = from_bucket(tmp_path, "http://127.0.0.1:1", bucket, model=model)
    assert (answer.status_code, answer.json()["code"]) == (503, "source-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - start < 20


@pytest.fixture
def run(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SECATEUR_URL", server.url)
    return runner(capsys)


def test_the_command_tells_the_same_here_and_there(server: Served, run: Run) -> None:
    arguments = ("example:kjv-dlm", "--sparsity", "0.5", "--json")
    here = run("estimate", *arguments).json()
    assert here == run("estimate", *arguments, "--url", server.url).json()
    assert here == run("submit", *arguments, "--dry-run").json()
    assert server.http.get("/v1/jobs", params={"model": "example:kjv-dlm"}).json()["data"] == []


def test_the_command_for_people(run: Run, tmp_path: Path) -> None:
    told = run("estimate", "example:kjv-dlm", "-s", "0.5", "--memory-budget", "100MB")
    assert told.status == 0
    for part in ("2.68 million parameters", "at peak on cpu", "output", "would fail"):
        assert part in told.out
    assert run("estimate", str(tmp_path / "none"), "-s", "0.5").status == 3
    assert run("estimate", "example:kjv-dlm", "--pattern", "5:9").status == 2
    assert run("submit", "example:kjv-dlm", "-s", "0.5", "--dry-run", "--wait").status == 2
    there = ("--url", "http://127.0.0.1:1", "--device", "cpu")
    assert run("estimate", "example:kjv-dlm", "-s", "0.5", *there).status == 2


def test_the_client_raises_what_the_server_raised(server: Served) -> None:
    with Client(server.url) as client:
        assert client.estimate(EXAMPLE).model.family == "llada"
        with pytest.raises(SourceRefused):
            client.estimate({**EXAMPLE, "model": {"source": "file:///etc"}})
