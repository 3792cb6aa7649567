"""Fuzzers over what clients send: a spec, a body, a cursor, a Range. No request is the server's fault."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import parse_object
from api.problems import MalformedBody, RangeNotSatisfiable
from api.ranges import parse_range
from core.errors import InvalidSpec, NotAvailable
from core.spec import JobSpec, parse_spec
from tests.fuzz.documents import ANYTHING, as_json, changed, damaged
from tests.fuzz.settings import FUZZ, PATIENCE
from tests.served import Served, served

pytestmark = PATIENCE

SPEC: dict[str, Any] = {
    "model": {"source": "example:kjv-dlm", "revision": "main"},
    "method": "sink-wanda", "sparsity": 0.5, "pattern": "2:4",
    "recipe": {"inputs": "noised", "order": "one-shot", "sinks": "discount-all",
               "allocation": [0.5, 0.5], "damping": 0.01},
    "calibration": {"source": "builtin:plain-text", "samples": 128, "sequence_length": 1024,
                    "seed": 0, "diffusion_steps": 50, "sample_interval": 5, "noise_eps": 0.001,
                    "timestep_weights": [1.0] * 10, "max_rate": 1.0},
    "sinks": {"threshold_std": 2.0}, "evaluation": {"nelbo": True, "samples": 32},
    "output": {"dtype": "keep", "push": "s3://a/b"}, "metadata": {"team": "search"}, "priority": 0,
}  # fmt: skip
PLAIN = {key: SPEC[key] for key in ("model", "method", "sparsity", "metadata")}
DOCUMENTS = changed(SPEC) | changed(PLAIN)


@FUZZ
@given(DOCUMENTS | st.dictionaries(st.sampled_from(sorted(SPEC)), ANYTHING))
def test_a_spec_is_understood_or_refused(document: Any) -> None:
    if not isinstance(document, dict):
        return
    try:
        spec = parse_spec(document)
    except (InvalidSpec, NotAvailable):
        return
    again = json.loads(spec.model_dump_json())
    assert parse_spec(again) == spec == JobSpec.model_validate(again)


@FUZZ
@given(DOCUMENTS.map(as_json) | damaged(as_json(PLAIN)) | st.binary(max_size=200))
def test_a_body_is_an_object_or_refused(body: bytes) -> None:
    try:
        found = parse_object(body)
    except MalformedBody:
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def test_a_body_of_many_keys_is_read_in_no_time() -> None:
    """The key that comes twice was looked for in a time that grew with the square of their number."""
    body = b"{" + b",".join(b'"%x":1' % i for i in range(100_000)) + b',"a":1,"a":2}'
    with pytest.raises(MalformedBody, match="'a' appears twice"):
        parse_object(body)


@FUZZ
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"\A(bytes)? *= *[\d ,-]{0,30}\Z"),
        st.builds(lambda a, b: f"bytes={a}-{b}", st.integers(), st.integers()),
        st.integers(1, 5000).map(lambda n: "bytes=0-" + "9" * n),
    ),
    st.integers(0, 10**13),
)
def test_a_range_lies_in_the_file_or_is_refused(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    if span is not None:
        assert 0 <= span.start < span.stop <= size


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


def answered(answer: Any) -> None:
    """Accepted, or refused in a problem document that says what to do."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]


@FUZZ
@given(
    DOCUMENTS.map(as_json) | damaged(as_json(PLAIN)) | st.binary(max_size=100),
    st.sampled_from(["/v1/jobs", "/v1/jobs?dry_run=true", "/v1/estimate"]),
)
def test_no_body_is_the_servers_fault(server: Served, body: bytes, path: str) -> None:
    answered(server.http.post(path, content=body, headers={"Content-Type": "application/json"}))


CURSORS = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"\A[A-Za-z0-9_=-]{0,60}\Z"),
    st.binary(max_size=40).map(lambda b: b.hex()),
    st.integers().map(str),
)


@FUZZ
@given(CURSORS, st.sampled_from(["/v1/jobs", "/v1/jobs/job_0123456789abcdefghjkmnpq/events"]))
def test_no_cursor_is_the_servers_fault(server: Served, cursor: str, path: str) -> None:
    try:
        cursor.encode()
    except UnicodeEncodeError:
        return
    answered(server.http.get(path, params={"after": cursor}))


@pytest.fixture(scope="module")
def cursor(server: Served) -> str:
    """What the server gives out."""
    for _ in range(3):
        server.submit()
    found: str = server.http.get("/v1/jobs", params={"limit": 1}).json()["next"]
    return found


@FUZZ
@given(st.data())
def test_a_real_cursor_that_was_changed(server: Served, cursor: str, data: st.DataObject) -> None:
    broken = data.draw(damaged(cursor.encode())).decode("latin-1")
    answered(server.http.get("/v1/jobs", params={"after": broken}))
