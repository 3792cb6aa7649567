"""Sweeps and comparisons over HTTP: accepted whole or not at all, followed, compared, ended."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.comparison.document import Comparison
from core.jobs.sweep_views import Sweep
from core.jobs.views import Failure
from core.quotas import Quota
from secateur import Client
from tests.integration.test_http_submit import refused
from tests.report_inputs import report_for, sink_arrays
from tests.served import NOW, Served, served

ARRAYS = sink_arrays("drifting", samples=2, timesteps=4, layers=2, positions=64)
REPORT = report_for(ARRAYS).model_dump_json().encode()
FILES = {"report/report.json": REPORT}
HTML = {"Accept": "text/html"}


def asked(server: Served, **more: Any) -> dict[str, Any]:
    return {
        "base": server.spec(),
        "grid": {"sparsity": [0.25, 0.5], "method": ["wanda", "magnitude"]},
        **more,
    }


def post(server: Served, body: Any, query: str = "", **headers: str) -> httpx.Response:
    return server.http.post(f"/v1/sweeps{query}", json=body, headers=headers)


def ids(sweep: dict[str, Any]) -> list[str]:
    return [cell["job"] for cell in sweep["cells"]]


class TestSubmitting:
    def test_every_combination_is_a_job(self, server: Served) -> None:
        answer = post(server, asked(server, name="four", metadata={"team": "a"}))
        assert answer.status_code == 202
        sweep = server.http.get(answer.headers["location"]).json()
        assert sweep == answer.json()
        assert (sweep["state"], sweep["children"], sweep["counts"]["queued"]) == ("running", 4, 4)
        assert [cell["values"] for cell in sweep["cells"]][1] == {
            "sparsity": 0.25,
            "method": "magnitude",
        }
        found = server.http.get(f"/v1/jobs?sweep={sweep['id']}").json()["data"]
        assert [job["id"] for job in found] == ids(sweep)[::-1]
        assert {job["sweep_id"] for job in found} == {sweep["id"]}
        (listed,) = [
            s for s in server.http.get("/v1/sweeps").json()["data"] if s["id"] == sweep["id"]
        ]
        assert listed == sweep | {"cells": None}

    def test_one_problem_names_every_bad_cell_and_nothing_is_left(self, server: Served) -> None:
        before = server.http.get("/v1/jobs?limit=200").json()
        body = asked(server, grid={"sparsity": [0.5, 3], "method": ["wanda", "wonder"]})
        fields = [
            each["field"] for each in refused(post(server, body), 422, "invalid-spec")["errors"]
        ]
        assert fields == [
            "cells.2.method",
            "cells.3.sparsity",
            "cells.4.method",
            "cells.4.sparsity",
        ]
        outside = asked(server, grid={"model.source": ["file:///etc", "example:none"]})
        problem = refused(post(server, outside), 422, "invalid-spec")
        assert [each["field"] for each in problem["errors"]] == ["cells.1", "cells.2"]
        assert "SECATEUR_MODEL_ROOTS" in problem["errors"][0]["message"]
        assert server.http.get("/v1/jobs?limit=200").json() == before

    def test_a_key_makes_one_sweep(self, server: Served) -> None:
        key = {"Idempotency-Key": "sweep-once"}
        first, again = (post(server, asked(server), **key) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = post(server, asked(server, name="other"), **key)
        refused(other, 422, "idempotency-key-reused")
        # A job's key is another matter.
        assert server.post(server.spec(), **key).status_code == 202

    def test_a_dry_run_counts_and_queues_nothing(self, server: Served) -> None:
        body = {"base": {"model": {"source": "example:kjv-dlm"}}, "preset": "ablation"}
        before = len(server.http.get("/v1/sweeps").json()["data"])
        found = post(server, body, "?dry_run=true").json()
        assert (found["children"], len(found["cells"])) == (24, 24)
        assert found["flops"] == pytest.approx(sum(cell["flops"] for cell in found["cells"]))
        assert found["peak_bytes"] == max(cell["peak_bytes"] for cell in found["cells"])
        assert found["cells"][0]["values"]["recipe.sinks"] == "keep"
        assert len(server.http.get("/v1/sweeps").json()["data"]) == before

    def test_a_quota_admits_all_or_none(self, tmp_path: Path) -> None:
        limits = {"default": Quota(queued_jobs=3).model_dump()}
        with served(tmp_path, quotas=limits) as fresh:
            problem = refused(post(fresh, asked(fresh)), 429, "quota-queued-jobs")
            assert "4 more were asked for at once" in problem["detail"]
            assert fresh.http.get("/v1/jobs").json()["data"] == []
            assert post(fresh, asked(fresh, grid={"sparsity": [0.5, 0.75]})).status_code == 202


def test_who_waits_hears_of_each_move_and_of_the_end(server: Served) -> None:
    sweep_id = server.sweep()
    url = f"/v1/sweeps/{sweep_id}"
    first = server.http.get(url)
    known = {"If-None-Match": first.headers["etag"]}
    assert server.http.get(url, headers=known).status_code == 304
    one, two = ids(first.json())
    moves = threading.Timer(0.2, server.claim, [one])
    moves.start()
    moved = server.http.get(f"{url}?wait=20", headers=known)
    moves.join()
    assert (moved.status_code, moved.json()["counts"]["running"]) == (200, 1)
    ends = threading.Timer(0.2, _end, [server, one, two])
    ends.start()
    ended = server.http.get(f"{url}?wait=20").json()
    ends.join()
    assert ended["state"] == "mixed"
    assert ended["finished_at"] is not None


def _end(server: Served, running: str, waiting: str) -> None:
    server.jobs.fail(running, 1, Failure(code="bad-data", message="why"), NOW)
    server.jobs.cancel("default", waiting, NOW)


def test_cancelling_and_deleting(server: Served) -> None:
    sweep_id = server.sweep()
    url = f"/v1/sweeps/{sweep_id}"
    one, two = ids(server.http.get(url).json())
    server.finish(one, FILES)
    server.store.put_bytes(f"sweeps/{sweep_id}/dense/a", b"kept")
    refused(server.http.delete(url), 409, "wrong-state")
    cancelled = server.http.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "mixed")
    refused(server.http.post(f"{url}/cancel"), 409, "wrong-state")
    assert server.http.delete(url).status_code == 204
    assert (
        refused(server.http.get(url), 404, "sweep-not-found")["detail"] == f"no sweep '{sweep_id}'."
    )
    refused(server.http.get(f"/v1/jobs/{one}"), 404, "job-not-found")
    left = [info.key for info in server.store.list("")]
    assert not [key for key in left if sweep_id in key or one in key or two in key]
    for path in ("/v1/sweeps/swp_x", "/v1/sweeps/job_0123456789abcdef01234567"):
        refused(server.http.get(path), 404, "sweep-not-found")
    refused(server.http.get("/v1/jobs?sweep=x"), 422, "invalid-spec")


class TestComparing:
    def test_jobs_side_by_side_as_json_and_as_a_page(self, server: Served) -> None:
        one, two = (server.succeeded(FILES) for _ in range(2))
        url = f"/v1/compare?job={one}&job={two}"
        answer = server.http.get(url)
        found = Comparison.model_validate(answer.json())
        assert [row.name for row in found.rows] == [one, two]
        assert found.comparable
        assert answer.headers["vary"] == "Accept"
        same = server.http.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert same.status_code == 304
        page = server.http.get(url, headers=HTML)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert "<svg" in page.text
        known = {"If-None-Match": page.headers["etag"], **HTML}
        assert server.http.get(url, headers=known).status_code == 304
        refused(server.http.get(url, headers={"Accept": "image/png"}), 406, "not-acceptable")

    @pytest.mark.parametrize(
        "report", [b"", b"[]", b"{}", b'{"quality": 3, "sinks": []}', b"\xff" * 9]
    )
    def test_a_strange_report_is_a_row_of_dashes(self, server: Served, report: bytes) -> None:
        one, two = server.succeeded(FILES), server.succeeded({"report/report.json": report})
        for headers in ({}, HTML):
            assert (
                server.http.get(f"/v1/compare?job={one}&job={two}", headers=headers).status_code
                == 200
            )
        rows = server.http.get(f"/v1/compare?job={one}&job={two}").json()["rows"]
        assert "difference in loss" in rows[1]["missing"]

    def test_what_cannot_be_compared_is_refused(self, server: Served) -> None:
        done, waiting = server.succeeded(FILES), server.submit()
        for query, status, code in (
            ("", 422, "invalid-spec"),
            (f"job={done}", 422, "invalid-spec"),
            (f"job={done}&job={done}", 422, "invalid-spec"),
            ("&".join(f"job=job_{n:024}" for n in range(9)), 422, "invalid-spec"),
            (f"job={done}&job={waiting}", 409, "wrong-state"),
            (f"job={done}&job=job_{'0' * 24}", 404, "job-not-found"),
            (f"job={done}&job=x", 404, "job-not-found"),
            (f"job={done}&job={waiting}&draft=1", 422, "invalid-spec"),
        ):
            refused(server.http.get(f"/v1/compare?{query}"), status, code)
        gone = server.succeeded(FILES)
        server.jobs.expire(gone, NOW)
        refused(server.http.get(f"/v1/compare?job={done}&job={gone}"), 410, "artifacts-expired")

    def test_no_other_parameter_may_come_twice(self, server: Served) -> None:
        refused(server.http.get("/v1/sweeps?limit=1&limit=2"), 422, "invalid-spec")

    def test_a_sweep_compares_all_its_jobs(self, server: Served) -> None:
        sweep_id = server.sweep(name="a <b> sweep", grid={"calibration.seed": [*range(12)]})
        names = ids(server.http.get(f"/v1/sweeps/{sweep_id}").json())
        for job_id in names[:9]:
            server.finish(job_id, FILES)
        server.jobs.expire(names[0], NOW)
        server.jobs.fail(
            names[9], server.claim(names[9]), Failure(code="bad-data", message="m"), NOW
        )
        url = f"/v1/sweeps/{sweep_id}/comparison"
        rows = server.http.get(url).json()["rows"]
        assert [row["name"] for row in rows] == names
        assert [row["note"] for row in rows][8:] == [
            None, "failed: bad-data", "queued: no report yet", "queued: no report yet",
        ]  # fmt: skip
        assert rows[0]["note"] == "its result has expired"
        assert rows[0]["asked_sparsity"] == 0.5
        page = server.http.get(url, headers=HTML).text
        assert "a &lt;b&gt; sweep" in page
        assert page.count("<tr>") == 13


def test_both_clients_have_it_all(client: Client, server: Served) -> None:
    body = asked(server, grid={"sparsity": [0.5, 0.75]})
    made = client.submit_sweep(body, idempotency_key=f"both-{id(client)}")
    assert isinstance(made, Sweep)
    assert client.submit_sweep(body, idempotency_key=f"both-{id(client)}") == made
    assert client.sweep(made.id) == made
    assert next(iter(client.sweeps())).id == made.id
    assert [job.sweep_id for job in client.list(sweep=made.id)] == [made.id] * 2
    one, two = [cell.job or "" for cell in made.cells or ()]
    server.finish(one, FILES)
    server.finish(two, FILES)
    assert client.wait_sweep(made.id, timeout=20).state == "succeeded"
    assert [row.name for row in client.compare([one, two]).rows] == [one, two]
    assert [row.name for row in client.compare_sweep(made.id).rows] == [one, two]
    other = client.submit_sweep(body)
    assert client.cancel_sweep(other.id).state == "cancelled"
    for sweep_id in (made.id, other.id):
        client.delete_sweep(sweep_id)
    example = {"base": {"model": {"source": "example:kjv-dlm"}}, "preset": "ablation"}
    assert client.estimate_sweep(example)["children"] == 24
