"""Reading, listing and cancelling jobs, and who may not ask at all."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from core.jobs.states import State
from core.progress import Progress
from tests.integration.test_http_submit import refused
from tests.served import NOW, Served


def test_an_etag_holds_until_the_job_changes(server: Served) -> None:
    job_id = server.submit()
    first = server.http.get(f"/v1/jobs/{job_id}")
    known = {"If-None-Match": first.headers["etag"]}
    unchanged = server.http.get(f"/v1/jobs/{job_id}", headers=known)
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    assert unchanged.headers["etag"] == first.headers["etag"]

    epoch = server.claim(job_id)
    changed = server.http.get(f"/v1/jobs/{job_id}", headers=known)
    assert changed.status_code == 200
    assert changed.json()["state"] == "running"
    known = {"If-None-Match": f'"x", W/{changed.headers["etag"]}'}
    server.jobs.progress(job_id, epoch, Progress("analysing", 0.5, "half"), NOW, None)
    assert server.http.get(f"/v1/jobs/{job_id}", headers=known).json()["progress"] == 0.5


@pytest.mark.parametrize(
    "job_id",
    ["nope", "job_0123456789abcdef01234567", "job_%00", "job_é", "job_" + "a" * 5000, "%FF"],
)
def test_other_ids_are_not_found(server: Served, job_id: str) -> None:
    for path in ("", "/events", "/artifacts", "/artifacts/manifest.json", "/report"):
        refused(server.http.get(f"/v1/jobs/{job_id}{path}"), 404, "job-not-found")
    refused(server.http.post(f"/v1/jobs/{job_id}/cancel"), 404, "job-not-found")
    known = {"If-None-Match": '"1"'}
    assert server.http.get(f"/v1/jobs/{job_id}", headers=known).status_code == 404


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


def test_filters_all_hold_at_once(server: Served) -> None:
    mine = {"metadata": {"test": "filters", "a.b": "1"}}
    wanda = server.submit(method="wanda", **mine)
    magnitude = server.running(method="magnitude", metadata={"test": "filters"})
    source = server.spec()["model"]["source"]
    where = "/v1/jobs?metadata.test=filters"
    assert ids(server.http.get(where)) == sorted([wanda, magnitude], reverse=True)
    assert ids(server.http.get(f"{where}&method=wanda")) == [wanda]
    assert ids(server.http.get(f"{where}&state=running")) == [magnitude]
    assert ids(server.http.get(f"{where}&state=running&method=wanda")) == []
    assert ids(server.http.get(f"{where}&metadata.a.b=1")) == [wanda]
    assert (
        len(ids(server.http.get(where, params={"metadata.test": "filters", "model": source}))) == 2
    )
    assert ids(server.http.get(f"{where}&model=example:other")) == []


def test_pages_hold_every_job_once(server: Served) -> None:
    made = {server.submit(metadata={"test": "pages"}) for _ in range(7)}
    seen: list[str] = []
    query: dict[str, str | int] = {"metadata.test": "pages", "limit": 3}
    while True:
        page = server.http.get("/v1/jobs", params=query).json()
        assert len(page["data"]) <= 3
        seen += [job["id"] for job in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        query["after"] = page["next"]
    assert len(seen) == 7
    assert set(seen) == made


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=x", "limit"),
        ("state=done", "state"),
        ("method=wonder", "method"),
        ("after=!!!", "after"),
        ("after=" + "A" * 600, "after"),
        ("after=bnVsbA", "after"),
        ("colour=green", "colour"),
        ("limit=1&limit=2", "limit"),
        ("metadata=1", "metadata"),
        ("metadata.=1", "metadata."),
        ('metadata."=1', 'metadata."'),
        ("model=%00", "model"),
        ("metadata.a=%00", "metadata.a"),
        ("&".join(f"metadata.k{i}=v" for i in range(17)), "metadata"),
    ],
)
def test_a_bad_query_names_its_parameter(server: Served, query: str, field: str) -> None:
    problem = refused(server.http.get(f"/v1/jobs?{query}"), 422, "invalid-spec")
    assert field in [error["field"] for error in problem["errors"]]


def test_a_query_nothing_knows_is_refused_everywhere(server: Served) -> None:
    job_id = server.submit()
    for path in (f"/{job_id}", f"/{job_id}/events", f"/{job_id}/artifacts", f"/{job_id}/report"):
        refused(server.http.get(f"/v1/jobs{path}?foo=1"), 422, "invalid-spec")
    refused(server.http.post(f"/v1/jobs/{job_id}/cancel?foo=1"), 422, "invalid-spec")
    refused(server.http.get("/v1/methods?foo=1"), 422, "invalid-spec")
    assert server.jobs.get("default", job_id).state is State.QUEUED


def test_cancelling_depends_on_the_state(server: Served) -> None:
    queued, running = server.submit(), server.running()
    answer = server.http.post(f"/v1/jobs/{queued}/cancel")
    assert answer.status_code == 202
    assert answer.json()["state"] == "cancelled"
    refused(server.http.post(f"/v1/jobs/{queued}/cancel"), 409, "wrong-state")
    for _ in range(2):
        assert server.http.post(f"/v1/jobs/{running}/cancel").json()["state"] == "cancelling"


def test_events_come_in_pages_without_gaps(server: Served) -> None:
    job_id = server.submit()
    epoch = server.claim(job_id)
    for step in range(5):
        server.jobs.progress(job_id, epoch, Progress("analysing", step / 10, f"{step}"), NOW, None)
    seen: list[int] = []
    more = True
    while more:
        last = seen[-1] if seen else 0
        page = server.http.get(f"/v1/jobs/{job_id}/events?after={last}&limit=2").json()
        seen += [event["id"] for event in page["data"]]
        more = page["has_more"]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 7
    for after in ("-1", str(2**63), "x"):
        bad = server.http.get(f"/v1/jobs/{job_id}/events?after={after}")
        refused(bad, 422, "invalid-spec")
    assert server.http.get(f"/v1/jobs/{job_id}/events?after={2**63 - 1}").json()["data"] == []


def test_a_failure_tells_its_reason(server: Served) -> None:
    job = server.http.get(f"/v1/jobs/{server.failed()}").json()
    assert job["state"] == "failed"
    assert job["error"] == {
        "code": "text-too-short", "message": "Too short.", "remedy": "Give more text.", "log": []
    }  # fmt: skip


@pytest.mark.parametrize(
    "host", ["evil.com", "127.0.0.1.evil.com:80", "", "10.0.0.1", "a@127.0.0.1", "[::2]:1"]
)
def test_other_hosts_are_not_served(server: Served, host: str) -> None:
    refused(server.http.get("/v1/jobs", headers={"Host": host}), 421, "wrong-host")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000", "a.localhost:80"]
)
def test_loopback_hosts_are_served(server: Served, host: str) -> None:
    assert server.http.get("/v1/jobs", headers={"Host": host}).status_code == 200


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.com"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://["},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_sites_change_nothing(server: Served, headers: dict[str, str]) -> None:
    job_id = server.submit()
    refused(server.post(server.spec(), **headers), 403, "cross-site")
    refused(server.http.post(f"/v1/jobs/{job_id}/cancel", headers=headers), 403, "cross-site")
    assert server.jobs.get("default", job_id).state is State.QUEUED


def test_the_own_page_may_ask_and_a_link_may_be_followed(server: Served) -> None:
    own = {"Sec-Fetch-Site": "same-origin", "Origin": server.url}
    assert server.post(server.spec(), **own).status_code == 202
    foreign = {"Sec-Fetch-Site": "cross-site"}
    refused(server.http.get("/v1/jobs", headers=foreign), 403, "cross-site")
    link = foreign | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert server.http.get("/", headers=link).status_code == 200
    frame = foreign | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    refused(server.http.get("/", headers=frame), 403, "cross-site")


def test_no_other_origin_is_allowed_to_read(server: Served) -> None:
    answer = server.http.get("/v1/jobs", headers={"Origin": "http://evil.com"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_unknown_paths_and_methods_are_problems(server: Served) -> None:
    for path in (
        "/nope",
        "/v1",
        "/v1/jobs/",
        "/static/nope.js",
        "/static/../app.py",
        "/v1/jobs/a/b",
    ):
        refused(server.http.get(path), 404, "not-found")
    wrong = server.http.request("PUT", "/v1/jobs")
    refused(wrong, 405, "method-not-allowed")
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "POST"}


def test_a_bug_is_answered_without_its_traceback(
    server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("core.jobs.store.JobStore.get", broken)
    with caplog.at_level(logging.ERROR):
        answer = server.http.get("/v1/jobs/job_0123456789abcdef01234567")
    problem = refused(answer, 500, "internal")
    assert answer.headers["connection"] == "close"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert problem["instance"] in caplog.text
    assert "secret detail" in caplog.text


def test_the_catalog(server: Served) -> None:
    methods = {m["name"]: m for m in server.http.get("/v1/methods").json()["data"]}
    row = {"inputs": "noised", "order": "one-shot", "sinks": "discount-all"}
    assert methods["sink-wanda"]["recipe"] == {"score": "wanda", **row}
    examples = server.http.get("/v1/examples").json()["data"]
    assert {e["source"] for e in examples} == {"example:kjv-dlm", "example:kjv-ar"}
    assert "llada" in [f["name"] for f in server.http.get("/v1/families").json()["data"]]
    assert server.http.get("/healthz").json() == {"status": "ok"}


def test_the_schema_of_reports_is_published(server: Served) -> None:
    answer = server.http.get("/v1/schemas/report")
    assert answer.headers["content-type"] == "application/schema+json"
    written = Path(__file__).parents[2] / "docs" / "report.schema.json"
    assert answer.json() == json.loads(written.read_bytes())
