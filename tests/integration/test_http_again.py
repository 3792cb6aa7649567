"""Posting once, retrying and deleting over HTTP."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import httpx
import pytest

from api.doorbell import Doorbell
from core.errors import StoreUnavailable
from core.jobs.states import State
from core.removal import finish_removals
from core.store.local import LocalStore
from tests.faults.farm import wait_for
from tests.integration.test_http_submit import refused
from tests.postgres import PostgresServer
from tests.served import NOW, Served, served


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    url = None
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        url = postgres.new_database()
    folder = tmp_path_factory.mktemp("server")
    (folder / "models" / "a").mkdir(parents=True)
    with served(folder, database_url=url) as running:
        yield running


def at(job_id: str) -> str:
    return f"/v1/jobs/{job_id}"


class TestOnce:
    def test_the_same_request_is_the_same_job(self, server: Served) -> None:
        first = server.post(server.spec(), **{"Idempotency-Key": "same"})
        assert first.status_code == 202
        assert "idempotent-replayed" not in first.headers
        reordered = dict(reversed(server.spec().items()))
        again = server.post(json.dumps(reordered, indent=3).encode(), **{"Idempotency-Key": "same"})
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
        other = server.post(server.spec(), **{"Idempotency-Key": "other"})
        assert other.json()["id"] != first.json()["id"]

    def test_another_request_is_refused(self, server: Served) -> None:
        server.post(server.spec(), **{"Idempotency-Key": "reused"})
        answer = server.post(server.spec(priority=1), **{"Idempotency-Key": "reused"})
        refused(answer, 422, "idempotency-key-reused")

    def test_a_refused_request_takes_no_key(self, server: Served) -> None:
        refused(
            server.post(server.spec(sparsity=2), **{"Idempotency-Key": "free"}),
            422,
            "invalid-spec",
        )
        assert server.post(server.spec(), **{"Idempotency-Key": "free"}).status_code == 202

    @pytest.mark.parametrize("key", ["", "a b", "é", "a\tb", "x" * 256], ids=ascii)
    def test_a_bad_key_is_refused(self, server: Served, key: str) -> None:
        sent = {b"Content-Type": b"application/json", b"Idempotency-Key": key.encode()}
        answer = server.http.post("/v1/jobs", json=server.spec(), headers=sent)
        problem = refused(answer, 422, "invalid-spec")
        assert [e["field"] for e in problem["errors"]] == ["idempotency-key"]

    def test_two_keys_are_refused_and_the_longest_is_not(self, server: Served) -> None:
        twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        answer = server.http.post("/v1/jobs", json=server.spec(), headers=twice)
        refused(answer, 422, "invalid-spec")
        long = {"Idempotency-Key": "!~" * 127 + "x"}
        assert server.post(server.spec(), **long).status_code == 202

    def test_many_at_once_make_one_job(self, server: Served) -> None:
        body = server.spec(metadata={"test": "at once"})

        def post(_: int) -> httpx.Response:
            headers = {"Idempotency-Key": "at-once"}
            return httpx.post(f"{server.url}/v1/jobs", json=body, headers=headers, timeout=60)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(post, range(32)))
        accepted = [a for a in answers if a.status_code == 202]
        assert len({a.json()["id"] for a in accepted}) == 1
        assert sum("idempotent-replayed" not in a.headers for a in accepted) == 1
        for answer in answers:
            if answer.status_code != 202:
                refused(answer, 409, "idempotency-key-in-flight")
        listed = server.http.get("/v1/jobs", params={"metadata.test": "at once"}).json()["data"]
        assert len(listed) == 1


class TestRetry:
    def test_it_runs_again(self, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        rung: list[str] = []
        monkeypatch.setattr(Doorbell, "ring", lambda _, job_id: rung.append(job_id))
        job_id = server.failed(metadata={"a": "b"})
        answer = server.http.post(f"{at(job_id)}/retry")
        assert answer.status_code == 202
        job = answer.json()
        assert (job["state"], job["attempt"], job["epoch"]) == ("queued", 1, 1)
        assert (job["error"], job["finished_at"]) == (None, None)
        assert job["metadata"] == {"a": "b"}
        wait_for(lambda: rung == [job_id], "the doorbell, which is rung once the answer is sent")
        assert server.http.get(at(job_id)).json() == job
        server.finish(job_id, {"report/report.json": b"{}"})
        assert server.http.get(f"{at(job_id)}/report").status_code == 200
        assert server.jobs.manifest_key("default", job_id) == f"jobs/{job_id}/2/manifest.json"

    def test_other_states_are_a_conflict(self, server: Served) -> None:
        done = server.succeeded({"report/report.json": b"{}"})
        for job_id in (done, server.submit(), server.running()):
            refused(server.http.post(f"{at(job_id)}/retry"), 409, "wrong-state")


class TestDelete:
    FILES: ClassVar = {"report/report.json": b"{}", "model/w.bin": b"weights"}

    def left(self, server: Served, job_id: str) -> list[str]:
        return [info.key for info in server.store.list(f"jobs/{job_id}/")]

    def test_nothing_is_left(self, server: Served) -> None:
        job_id = server.succeeded(self.FILES)
        server.store.put_bytes(f"jobs/{job_id}/9/leftover", b"x")
        other = server.succeeded(self.FILES)
        answer = server.http.delete(at(job_id))
        assert (answer.status_code, answer.content) == (204, b"")
        assert self.left(server, job_id) == []
        assert len(self.left(server, other)) == 3
        for path in ("", "/events", "/artifacts", "/artifacts/report/report.json", "/report"):
            refused(server.http.get(at(job_id) + path), 404, "job-not-found")
        refused(server.http.delete(at(job_id)), 404, "job-not-found")
        refused(server.http.post(f"{at(job_id)}/retry"), 404, "job-not-found")
        assert server.jobs.buried() == []
        assert server.jobs.standings([job_id]) == {}

    def test_active_jobs_are_a_conflict(self, server: Served) -> None:
        cancelling = server.running()
        server.http.post(f"{at(cancelling)}/cancel")
        for job_id in (server.submit(), server.running(), cancelling):
            problem = refused(server.http.delete(at(job_id)), 409, "wrong-state")
            assert "Cancel it" in problem["remedy"]
            assert server.http.get(at(job_id)).status_code == 200

    def test_a_store_that_is_away_is_left_to_a_worker(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = server.succeeded(self.FILES)

        def away(*_: Any) -> int:
            raise StoreUnavailable("away.")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "delete_prefix", away)
            assert server.http.delete(at(job_id)).status_code == 204
            refused(server.http.get(at(job_id)), 404, "job-not-found")
            refused(server.http.delete(at(job_id)), 404, "job-not-found")
            with pytest.raises(StoreUnavailable):
                finish_removals(server.jobs, server.store, NOW)
        assert len(self.left(server, job_id)) == 3
        assert server.jobs.buried() == [job_id]
        finish_removals(server.jobs, server.store, NOW)
        assert self.left(server, job_id) == []
        assert server.jobs.standings([job_id]) == {}

    def test_many_at_once_are_one(self, server: Served) -> None:
        job_id = server.succeeded(self.FILES)
        with ThreadPoolExecutor(8) as pool:
            urls = [server.url + at(job_id)] * 8
            answers = list(pool.map(lambda url: httpx.delete(url, timeout=60).status_code, urls))
        assert sorted(answers) == [204] + [404] * 7
        assert server.jobs.buried() == []
        assert self.left(server, job_id) == []

    def test_its_idempotency_key_makes_a_new_job(self, server: Served) -> None:
        headers = {"Idempotency-Key": "deleted"}
        job_id = server.post(server.spec(), **headers).json()["id"]
        assert server.http.post(f"{at(job_id)}/cancel").json()["state"] == State.CANCELLED
        server.http.delete(at(job_id))
        again = server.post(server.spec(), **headers)
        assert again.status_code == 202
        assert again.json()["id"] != job_id
