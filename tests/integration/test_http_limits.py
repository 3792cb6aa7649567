"""Quotas and rates over HTTP: what is refused, with which words, and what is never held back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.pace import Pace
from core.jobs.audit import AuditFilter
from core.jobs.audit_views import AuditEntry
from core.quotas import Quota
from tests.served import NOW, Served, served

KEYLESS_ROUTES = ("/healthz", "/openapi.json", "/docs", "/session")


@pytest.fixture(scope="module")
def one_minute() -> Iterator[None]:
    """No minute ends while the tests of this file count requests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("api.app.Pace", lambda url, _: Pace(url, lambda: NOW))
        yield


@pytest.fixture(scope="module")
def strict(one_minute: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Five reads and three writes a minute, two refusals, and quotas for tenant `full`."""
    quotas: dict[str, Any] = {"full": {"queued_jobs": 2}, "stuffed": {"stored_bytes": 10}}
    limits: dict[str, Any] = {
        "reads_per_minute": 5,
        "writes_per_minute": 3,
        "failures_per_minute": 2,
    }
    with served(tmp_path_factory.mktemp("strict"), quotas=quotas, **limits) as running:
        (running.folder / "models" / "a").mkdir(parents=True)
        running.key(tenant="nobody")
        yield running


def bearer(server: Served, tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.key(tenant=tenant).text}"}


def problem(answer: httpx.Response, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (429, code)
    assert int(answer.headers["retry-after"]) >= 1
    found: dict[str, Any] = answer.json()
    assert found["remedy"]
    return found


class TestQuotas:
    def test_of_twenty_posts_at_once_as_many_get_in_as_may(self, tmp_path: Path) -> None:
        quotas = {"crowd": {"queued_jobs": 5}}
        with served(tmp_path, quotas=quotas) as server:
            (server.folder / "models" / "a").mkdir(parents=True)
            headers = bearer(server, "crowd")
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(lambda _: server.post(server.spec(), **headers), range(20)))
            assert sorted(a.status_code for a in answers) == [202] * 5 + [429] * 15
            refused = next(a for a in answers if a.status_code == 429)
            said = problem(refused, "quota-queued-jobs")["detail"]
            assert said == "tenant crowd has 5 queued jobs, and may have 5."
            assert len(server.jobs.list("crowd").data) == 5

    def test_a_full_store_takes_no_more(self, strict: Served) -> None:
        headers = bearer(strict, "stuffed")
        job_id = strict.submit("stuffed")
        epoch = strict.claim(job_id)
        strict.jobs.succeed(job_id, epoch, f"jobs/{job_id}/1/x", NOW, stored_bytes=11)
        usage = strict.http.get("/v1/usage", headers=headers).json()
        assert usage["usage"] == {"queued_jobs": 0, "running_jobs": 0, "stored_bytes": 11}
        assert usage["quota"]["stored_bytes"] == 10
        said = problem(strict.post(strict.spec(), **headers), "quota-stored-bytes")
        assert "11 bytes, and may take 10" in said["detail"]


class TestRates:
    def test_reads_and_writes_are_counted_apart_and_said(self, strict: Served) -> None:
        headers = bearer(strict, "often")
        for left in (4, 3, 2, 1, 0):
            answer = strict.http.get("/v1/methods", headers=headers)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"reads";q=5;w=60'
            assert answer.headers["ratelimit"].startswith(f'"reads";r={left};t=')
        refused = strict.http.get("/v1/methods", headers=headers)
        assert "more than 5 reads a minute" in problem(refused, "rate-limited")["detail"]
        assert refused.headers["ratelimit"].startswith('"reads";r=0;t=')
        # Another key of the tenant is the same tenant; another tenant is not.
        assert strict.http.get("/v1/jobs", headers=bearer(strict, "often")).status_code == 429
        assert strict.http.get("/v1/jobs", headers=bearer(strict, "seldom")).status_code == 200
        written = strict.post(strict.spec(), **headers)
        assert written.status_code == 202
        assert written.headers["ratelimit"].startswith('"writes";r=2;t=')

    def test_a_304_says_so_too(self, strict: Served) -> None:
        headers = bearer(strict, "poller")
        tag = strict.http.get("/v1/jobs", headers=headers).headers["etag"]
        answer = strict.http.get("/v1/jobs", headers={**headers, "If-None-Match": tag})
        assert (answer.status_code, answer.headers["ratelimit"][:12]) == (304, '"reads";r=3;')

    def test_probes_and_pages_are_not_counted(self, strict: Served) -> None:
        for path in KEYLESS_ROUTES:
            for _ in range(8):
                answer = strict.http.get(path)
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers

    def test_without_keys_nobody_is_counted(self, tmp_path: Path) -> None:
        with served(tmp_path, reads_per_minute=1) as server:
            for _ in range(3):
                answer = server.http.get("/v1/jobs")
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers

    def test_nought_is_no_limit(self, tmp_path: Path) -> None:
        with served(tmp_path, reads_per_minute=0) as server:
            answer = server.http.get("/v1/jobs", headers=bearer(server, "a"))
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)


class TestRefusals:
    """Each test has a server: they all come from one address."""

    @pytest.fixture
    def door(self, one_minute: None, tmp_path: Path) -> Iterator[Served]:
        with served(tmp_path, failures_per_minute=3) as running:
            running.key(tenant="nobody")
            yield running

    def refused(self, door: Served) -> list[AuditEntry]:
        found = door.jobs.audit(AuditFilter(action="access"), limit=200).data
        return list(reversed(found))

    def test_a_flood_of_wrong_keys_ends_and_good_ones_pass(self, door: Served) -> None:
        good = bearer(door, "a")
        wrong = {"Authorization": f"Bearer sec_0123456789ab_{'0' * 64}", "X-Request-ID": "r-1"}
        answers = [door.http.get("/v1/jobs", headers=wrong) for _ in range(6)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429, 429, 429]
        problem(answers[-1], "too-many-failures")
        assert door.http.post("/login", json={"key": "sec_x"}).status_code == 429
        assert door.http.get("/v1/jobs", headers=good).status_code == 200
        written = self.refused(door)
        assert len(written) == 3
        first = written[0]
        assert (first.tenant, first.key_id, first.target) == (None, None, "key_0123456789ab")
        assert (first.outcome, first.address, first.request_id) == (
            "key-unknown", "127.0.0.1", "r-1",
        )  # fmt: skip
        assert "0" * 64 not in str(written)

    def test_no_key_at_all_tells_nothing(self, door: Served) -> None:
        for _ in range(5):
            assert door.http.get("/v1/jobs").status_code == 401
        assert self.refused(door) == []

    def test_whoever_shows_a_whole_key_is_named(self, door: Served) -> None:
        revoked = door.key(tenant="left")
        door.keys.revoke(revoked.key.id, NOW)
        reader = door.key("jobs:read", tenant="reads")
        for text, path in ((revoked.text, "/v1/jobs"), (reader.text, "/v1/keys?tenant=%00")):
            door.http.get(path, headers={"Authorization": f"Bearer {text}"})
        found = [(e.tenant, e.key_id, e.target, e.outcome) for e in self.refused(door)]
        assert found == [
            ("left", revoked.key.id, "/v1/jobs", "key-revoked"),
            ("reads", reader.key.id, "/v1/keys", "scope-missing"),
        ]

    def test_a_database_that_takes_no_line_still_refuses(self, door: Served) -> None:
        revoked = door.key(tenant="left")
        door.keys.revoke(revoked.key.id, NOW)
        for path in door.folder.glob("jobs.db*"):
            path.unlink()
        headers = {"Authorization": f"Bearer {revoked.text}"}
        assert door.http.get("/v1/jobs", headers=headers).status_code in (401, 503)

    def test_an_odd_request_id_is_left_out(self, door: Served) -> None:
        headers = {**bearer(door, "a"), "X-Request-ID": "two words"}
        key = door.key("jobs:read").text
        for sent in ({**headers, "Authorization": f"Bearer {key}"}, headers):
            door.http.post("/v1/jobs", headers=sent, json={})
        assert {entry.request_id for entry in self.refused(door)} == {None}

    def test_a_quota_s_refusals_are_written_and_a_loop_of_them_in_part(self, door: Served) -> None:
        (door.folder / "models" / "a").mkdir(parents=True)
        keys = {tenant: door.key(tenant=tenant) for tenant in ("loops", "beside")}
        for tenant in keys:
            door.jobs.set_quota(tenant, Quota(queued_jobs=0), NOW)
        for tenant, often in (("loops", 5), ("beside", 1)):
            headers = {"Authorization": f"Bearer {keys[tenant].text}", "X-Request-ID": tenant}
            for _ in range(often):
                problem(door.post(door.spec(), **headers), "quota-queued-jobs")
        lines = self.refused(door)
        assert [e.tenant for e in lines] == ["loops"] * 3 + ["beside"]
        last = lines[-1]
        assert (last.key_id, last.target, last.outcome, last.address) == (
            keys["beside"].key.id, "/v1/jobs", "quota-queued-jobs", "127.0.0.1",
        )  # fmt: skip
        assert door.jobs.list("loops").data == []
        # They are no failures of their address: it may still err as often as any.
        wrong = {"Authorization": "Bearer sec_x"}
        assert door.http.get("/v1/jobs", headers=wrong).status_code == 401

    def test_a_job_that_is_too_large_is_told_of_and_so_is_a_retry(self, door: Served) -> None:
        headers = bearer(door, "small")
        retried = door.submit("small")
        door.jobs.cancel("small", retried, NOW)
        door.jobs.set_quota("small", Quota(job_bytes=1, stored_bytes=0), NOW)
        large = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}
        problem(door.post(large, **headers), "quota-job-size")
        again = door.http.post(f"/v1/jobs/{retried}/retry", headers=headers)
        problem(again, "quota-stored-bytes")
        assert [(e.target, e.outcome) for e in self.refused(door)] == [
            ("/v1/jobs", "quota-job-size"),
            (f"/v1/jobs/{retried}/retry", "quota-stored-bytes"),
        ]
