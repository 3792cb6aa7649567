"""Downloads: every range is the slice it names, and nothing but published files is ever served."""

import hashlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.test_http_submit import refused
from tests.served import Served

DATA = bytes(range(256)) * 9
PAGE = b"<!doctype html><script>alert(1)</script>"
FILES = {
    "model/config.json": b'{"a": 1}',
    "model/weights é 'x'.safetensors": DATA,
    "model/page.html": PAGE,
    "model/empty.txt": b"",
    "report/report.json": b'{"schema_version": 1}',
    "report/report.html": PAGE,
}
WEIGHTS = "model/weights é 'x'.safetensors"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def job(server: Served) -> str:
    return server.succeeded(FILES)


@pytest.fixture(scope="module")
def url(job: str) -> Callable[[str], str]:
    return lambda name: f"/v1/jobs/{job}/artifacts/{quote(name)}"


def test_the_list_is_the_manifest_and_itself(server: Served, job: str) -> None:
    listed = {a["name"]: a for a in server.http.get(f"/v1/jobs/{job}/artifacts").json()["data"]}
    assert set(listed) == {*FILES, "manifest.json"}
    for artifact in listed.values():
        answer = server.http.get(artifact["url"])
        assert answer.status_code == 200
        assert len(answer.content) == artifact["bytes"]
        assert hashlib.sha256(answer.content).hexdigest() == artifact["sha256"]
        assert answer.headers["content-type"] == artifact["media_type"]
        assert answer.headers["etag"] == f'"{artifact["sha256"]}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["accept-ranges"] == "bytes"
    assert listed["model/page.html"]["media_type"] == "application/octet-stream"


def test_a_job_that_has_not_succeeded_has_none(server: Served) -> None:
    for job_id in (server.submit(), server.running(), server.failed()):
        assert server.http.get(f"/v1/jobs/{job_id}/artifacts").json() == {"data": []}
        one = server.http.get(f"/v1/jobs/{job_id}/artifacts/manifest.json")
        refused(one, 404, "artifact-not-found")
        problem = refused(server.http.get(f"/v1/jobs/{job_id}/report"), 409, "wrong-state")
        assert problem["remedy"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    start=st.integers(0, len(DATA) + 9),
    length=st.integers(1, len(DATA) + 9),
    open_end=st.booleans(),
)
def test_any_range_equals_the_slice(
    server: Served, url: Callable[[str], str], start: int, length: int, open_end: bool
) -> None:
    header = f"bytes={start}-" if open_end else f"bytes={start}-{start + length - 1}"
    answer = server.http.get(url(WEIGHTS), headers={"Range": header})
    wanted = DATA[start:] if open_end else DATA[start : start + length]
    if not wanted:
        refused(answer, 416, "range-not-satisfiable")
        assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
        return
    assert answer.status_code == 206
    assert answer.content == wanted
    last = start + len(wanted) - 1
    assert answer.headers["content-range"] == f"bytes {start}-{last}/{len(DATA)}"
    assert answer.headers["content-length"] == str(len(wanted))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(1, len(DATA) + 9))
def test_any_suffix_equals_the_slice(server: Served, url: Callable[[str], str], count: int) -> None:
    answer = server.http.get(url(WEIGHTS), headers={"Range": f"bytes=-{count}"})
    assert answer.status_code == 206
    assert answer.content == DATA[-count:]


def test_an_empty_file_is_served_and_has_no_range(
    server: Served, url: Callable[[str], str]
) -> None:
    name = url("model/empty.txt")
    assert server.http.get(name).content == b""
    refused(server.http.get(name, headers={"Range": "bytes=0-"}), 416, "range-not-satisfiable")
    refused(server.http.get(name, headers={"Range": "bytes=-1"}), 416, "range-not-satisfiable")


def test_conditions_decide_what_is_sent(server: Served, url: Callable[[str], str]) -> None:
    name, part = url(WEIGHTS), {"Range": "bytes=1-2"}
    assert server.http.get(name, headers=part | {"If-Range": f'"{SHA}"'}).content == DATA[1:3]
    for stale in ('"other"', f'W/"{SHA}"', "Mon, 02 Nov 2026 09:00:00 GMT"):
        whole = server.http.get(name, headers=part | {"If-Range": stale})
        assert whole.status_code == 200
        assert whole.content == DATA
    assert server.http.get(name, headers=part | {"If-Match": f'"{SHA}"'}).status_code == 206
    stale_match = server.http.get(name, headers=part | {"If-Match": '"other"'})
    refused(stale_match, 412, "precondition-failed")
    unchanged = server.http.get(name, headers={"If-None-Match": f'"{SHA}"'})
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    several = server.http.get(name, headers={"Range": "bytes=0-1,3-4"})
    assert several.status_code == 200
    assert several.content == DATA


def test_head_is_get_without_the_body(server: Served, url: Callable[[str], str]) -> None:
    for headers in ({}, {"Range": "bytes=5-9"}):
        head = server.http.head(url(WEIGHTS), headers=headers)
        get = server.http.get(url(WEIGHTS), headers=headers)
        assert head.content == b""
        assert head.status_code == get.status_code
        dropped = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in dropped} == {
            k: v for k, v in get.headers.items() if k not in dropped
        }


def test_the_file_keeps_its_name(server: Served, url: Callable[[str], str]) -> None:
    disposition = server.http.get(url(WEIGHTS)).headers["content-disposition"]
    assert (
        disposition
        == f"attachment; filename*=UTF-8''{quote('weights é ' + chr(39) + 'x' + chr(39) + '.safetensors')}"
    )
    plain = server.http.get(url("model/config.json")).headers["content-disposition"]
    assert plain == 'inline; filename="config.json"'


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fjobs.db", "model/../../../jobs.db", "%2e%2e/manifest.json", "model", "model/", "MODEL/config.json",
     "/etc/passwd", "%00", "a" * 3000],
)  # fmt: skip
def test_only_published_names_exist(server: Served, job: str, name: str) -> None:
    answer = server.http.get(f"/v1/jobs/{job}/artifacts/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
    ],
)
def test_the_report_comes_as_the_client_likes_it(
    server: Served, job: str, accept: str, kind: str
) -> None:
    answer = server.http.get(f"/v1/jobs/{job}/report", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["vary"].startswith("Accept")
    if kind == "text/html":
        # Scripts stay off, and the page has an origin of its own.
        policy = answer.headers["content-security-policy"]
        assert "sandbox" in policy
        assert "allow-scripts" not in policy
        assert "default-src 'none'" in policy
    neither = server.http.get(f"/v1/jobs/{job}/report", headers={"Accept": "image/png"})
    refused(neither, 406, "not-acceptable")


def test_a_browser_is_sent_to_where_the_pages_links_lead(server: Served, job: str) -> None:
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
    answer = server.http.get(f"/v1/jobs/{job}/report", headers=headers)
    assert answer.status_code == 307
    page = server.http.get(f"/v1/jobs/{job}/{answer.headers['location']}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    beside = page.url.join("report.json")
    assert server.http.get(str(beside)).json() == {"schema_version": 1}


def test_a_report_that_was_not_published_is_not_found(server: Served) -> None:
    job_id = server.succeeded({"model/config.json": b"{}"})
    refused(server.http.get(f"/v1/jobs/{job_id}/report"), 404, "artifact-not-found")


def test_a_damaged_store_is_never_served_as_whole(server: Served) -> None:
    job_id = server.succeeded({"a.txt": b"12345", "b.txt": b"12345"})
    epoch = server.jobs.get("default", job_id).epoch
    server.store.put_bytes(f"jobs/{job_id}/{epoch}/a.txt", b"123")
    server.store.delete_prefix(f"jobs/{job_id}/{epoch}/b.txt")
    refused(server.http.get(f"/v1/jobs/{job_id}/artifacts/a.txt"), 500, "corrupt-object")
    server.store.put_bytes(f"jobs/{job_id}/{epoch}/manifest.json", b"{}")
    refused(server.http.get(f"/v1/jobs/{job_id}/artifacts"), 500, "corrupt-object")
