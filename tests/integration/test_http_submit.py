"""POST /v1/jobs: what is accepted, and every way to be refused."""

import base64
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.jobs.states import State
from secateur.broker import Broker
from tests.served import NO_BROKER, Served, served

DEEP = b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document, once it has been found to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == f"urn:secateur:problem:{code}"
    return problem


def test_a_job_is_accepted_and_can_be_read(server: Served) -> None:
    answer = server.post(server.spec(metadata={"team": "é\u2028"}))
    assert answer.status_code == 202
    assert int(answer.headers["retry-after"]) >= 1
    job = server.http.get(answer.headers["location"]).json()
    assert job == answer.json()
    assert job["state"] == "queued"
    assert job["metadata"] == {"team": "é\u2028"}
    assert job["spec"]["method"] == "sink-wanda"
    assert job["spec"]["calibration"]["samples"] == 128


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[1]", b'"text"', b"{'a': 1}", b'{"sparsity": NaN}',
        b'{"sparsity": Infinity}', b'{"sparsity": -Infinity}', b'{"sparsity": 1e999}',
        b'{"priority": 1' + b"0" * 5000 + b"}", DEEP, b'{"metadata": {"a": "\\ud800"}}',
        b'{"\\udfff": 1}', b'{"sparsity": 0.5, "sparsity": 0.6}', b'\xff\xfe{\x00}\x00', b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_what_is_not_json_is_refused(server: Served, body: bytes) -> None:
    refused(server.post(body), 400, "malformed-body")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sparsity": 0}, "sparsity"),
        ({"sparsity": 1}, "sparsity"),
        ({"sparsity": -1}, "sparsity"),
        ({"sparsity": 1.5}, "sparsity"),
        ({"sparsity": "half"}, "sparsity"),
        ({"sparsity": 10**30}, "sparsity"),
        ({"model": None}, "model"),
        ({"model": {"source": "/plain/path"}}, "model.source"),
        ({"model": {"source": "http://host/x"}}, "model.source"),
        ({"model": {"source": "file:///a\nb"}}, "model.source"),
        ({"method": "wonder"}, "method"),
        ({"pattern": "mostly"}, "pattern"),
        ({"calibration": {"seed": 2**63}}, "calibration.seed"),
        ({"calibration": {"samples": 0}}, "calibration.samples"),
        ({"evaluation": {"seed": -1}}, "evaluation.seed"),
        ({"priority": 2**70}, "priority"),
        ({"metadata": {f"k{i}": "v" for i in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"colour": "green"}, "colour"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_the_offending_field_is_named(server: Served, change: dict[str, Any], field: str) -> None:
    problem = refused(server.post(server.spec() | change), 422, "invalid-spec")
    assert field in [error["field"] for error in problem["errors"]]


def test_missing_fields_are_all_named(server: Served) -> None:
    problem = refused(server.post({}), 422, "invalid-spec")
    assert {error["field"] for error in problem["errors"]} == {"model", "sparsity"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pattern": "structured:ffn"}, "structured:ffn"),
        ({"output": {"packed": True}}, "packed"),
    ],
)
def test_what_this_version_lacks_is_refused_by_name(
    server: Served, change: dict[str, Any], named: str
) -> None:
    problem = refused(server.post(server.spec() | change), 422, "not-available")
    assert named in problem["detail"]


def test_sources_are_checked_before_a_worker_sees_them(server: Served, tmp_path: Path) -> None:
    elsewhere = {"model": {"source": tmp_path.as_uri()}}
    refused(server.post(server.spec() | elsewhere), 422, "source-refused")
    climbing = {"model": {"source": f"file://{server.folder}/models/../secret"}}
    refused(server.post(server.spec() | climbing), 422, "source-refused")
    text = {"calibration": {"source": "file:///etc/passwd"}}
    refused(server.post(server.spec() | text), 422, "source-refused")
    climbing_there = {"calibration": {"source": "hf://datasets/org/name/../other.txt"}}
    refused(server.post(server.spec() | climbing_there), 422, "source-refused")
    bucket = {"model": {"source": "s3://bucket/model"}}
    problem = refused(server.post(server.spec() | bucket), 422, "source-refused")
    assert "SECATEUR_SOURCE_BUCKETS" in problem["remedy"]
    unknown = {"model": {"source": "example:nothing"}}
    assert (
        "kjv-dlm" in refused(server.post(server.spec() | unknown), 422, "model-not-found")["remedy"]
    )


def test_unknown_parameters_are_refused(server: Served) -> None:
    refused(server.http.post("/v1/jobs?draft=1", json=server.spec()), 422, "invalid-spec")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_only_json_is_read(server: Served, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    body = json.dumps(server.spec()).encode()
    refused(
        server.http.post("/v1/jobs", content=body, headers=headers), 415, "unsupported-media-type"
    )


def test_large_bodies_are_refused_announced_or_not(server: Served) -> None:
    large = b" " * 1_000_001
    refused(server.post(large), 413, "body-too-large")
    chunks = (large[:65536] for _ in range(20))
    headers = {"Content-Type": "application/json"}
    refused(server.http.post("/v1/jobs", content=chunks, headers=headers), 413, "body-too-large")
    fits = json.dumps(server.spec()).encode().ljust(999_999)
    assert server.post(fits).status_code == 202


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
specs = st.fixed_dictionaries(
    {"model": st.fixed_dictionaries({"source": st.text() | json_values}), "sparsity": json_values},
    optional=dict.fromkeys(
        ("method", "pattern", "recipe", "calibration", "metadata", "priority", "output"),
        json_values,
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary() | (json_values | specs).map(lambda value: json.dumps(value).encode()))
def test_no_body_is_the_servers_fault(server: Served, body: bytes) -> None:
    answer = server.post(body)
    assert answer.status_code < 500, answer.text
    if answer.status_code != 202:
        assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_refused_leaves_a_job(tmp_path: Path) -> None:
    with served(tmp_path) as fresh:
        fresh.post(b"{")
        fresh.post(fresh.spec(sparsity=2))
        fresh.post(fresh.spec(pattern="structured:ffn"))
        assert fresh.http.get("/v1/jobs").json() == {"data": [], "has_more": False, "next": None}


def test_a_broker_that_never_answers_holds_nobody_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with served(tmp_path, broker_url=url) as running:
            running.post(b"{")  # imports are done with
            began = time.monotonic()
            job_id = running.post(running.spec()).json()["id"]
            assert time.monotonic() - began < 5
            assert running.jobs.get("default", job_id).state is State.QUEUED
            ready = running.http.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["checks"]["broker"]["ok"] is False
            assert ready.json()["checks"]["database"] == {"ok": True, "why": ""}


def test_a_job_rings_at_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    # Celery would rather listen to this than to the setting.
    monkeypatch.setenv("CELERY_BROKER_URL", NO_BROKER)
    process = broker.start(tmp_path / "broker.log")
    try:
        wait_until(broker.answers)
        with served(tmp_path, broker_url=broker.url) as running:
            assert running.http.get("/readyz").json()["ready"] is True
            job_id = running.post(running.spec()).json()["id"]
            with redis.Redis.from_url(broker.url) as client:
                wait_until(lambda: client.llen("secateur") == 1)
                message = json.loads(client.lindex("secateur", 0) or "")
        assert message["headers"]["task"] == "secateur.look_at"
        assert json.loads(base64.b64decode(message["body"]))[0] == [job_id]
    finally:
        process.kill()
        process.wait()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("depth", [40, 400, *range(700, 1100, 40), 5000])
@pytest.mark.parametrize(("begin", "end"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_no_nesting_is_too_deep_to_be_refused(
    server: Served, depth: int, begin: bytes, end: bytes
) -> None:
    """Python's parser, ours and its writer each give up at a depth of their own."""
    nested = begin * depth + b"5.0" + end * depth
    body = b'{"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5, "metadata": ' + nested + b"}"
    answer = server.post(body)
    assert answer.status_code in (400, 422), answer.text
