"""`/metrics`, request ids and the line for each request, over a real socket."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import health
from api.exposition import OUTCOMES, REASONS, TIMED
from core.telemetry import logs
from tests.faults.farm import wait_for
from tests.served import Served, served

TOKEN = "a-token-of-the-operator"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "models" / "a").mkdir(parents=True)
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keyed"), metrics_token=TOKEN) as running:
        running.key("jobs:read", tenant="nobody")
        yield running


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(server: Served, **headers: str) -> dict[Any, float]:
    answer = server.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


class Lines(logging.Handler):
    """What would be written, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(logs.add_fields)
        self.setFormatter(logs.formatter("json"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def of(self, request_id: str) -> list[dict[str, Any]]:
        parsed: list[dict[str, Any]] = [json.loads(text) for text in self.texts]
        return [line for line in parsed if line.get("request_id") == request_id]

    def access(self, request_id: str) -> dict[str, Any]:
        return self.by("api.access", request_id)

    def by(self, logger: str, request_id: str) -> dict[str, Any]:
        """The one line of `logger`, which may be written when the answer has been sent already."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.of(request_id) if line["logger"] == logger]

        wait_for(lambda: bool(found()), f"a line of {logger}", seconds=10)
        (line,) = found()
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


class TestRequestIds:
    def test_each_answer_has_one_of_its_own(self, server: Served) -> None:
        found = [server.http.get("/healthz").headers["x-request-id"] for _ in range(2)]
        assert len(set(found)) == 2
        assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in found)

    @pytest.mark.parametrize("given", ["a", "req-1.2:3_4", "x" * 64])
    def test_a_client_may_bring_it(self, server: Served, given: str) -> None:
        for path in ("/healthz", "/v1/jobs", "/nothing", "/v1/jobs?nonsense=1"):
            answer = server.http.get(path, headers={"X-Request-ID": given})
            assert answer.headers.get_list("x-request-id") == [given]

    @pytest.mark.parametrize("given", ["", "x" * 65, "two words", "a\tb", "é", "a;b", '"'])
    def test_what_cannot_be_one_is_replaced(self, server: Served, given: str) -> None:
        answer = server.http.get("/healthz", headers={b"X-Request-ID": given.encode()})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])

    def test_two_are_none(self, server: Served) -> None:
        headers = [("X-Request-ID", "a"), ("X-Request-ID", "b")]
        answer = httpx.get(f"{server.url}/healthz", headers=headers, trust_env=False)
        assert answer.headers["x-request-id"] not in ("a", "b", "a, b")

    def test_refusals_before_any_route_have_one(self, server: Served) -> None:
        answer = server.http.get("/", headers={"Host": "evil.example", "X-Request-ID": "mine"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (421, "mine")

    def test_the_job_remembers_it(self, server: Served) -> None:
        job_id = server.post(server.spec(), **{"X-Request-ID": "maker"}).json()["id"]
        first = server.http.get(f"/v1/jobs/{job_id}/events").json()["data"][0]
        assert first["data"] == {"state": "queued", "attempt": 1, "request_id": "maker"}

    def test_what_nobody_foresaw_has_one_too_and_names_it(
        self, server: Served, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("a\ndefect")

        monkeypatch.setattr(health, "_try", broken)
        answer = server.http.get("/readyz", headers={"X-Request-ID": "unlucky"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "unlucky")
        assert answer.json()["instance"] == "urn:secateur:request:unlucky"
        (told,) = [line for line in lines.of("unlucky") if "exception" in line]
        assert "ZeroDivisionError: a\ndefect\n" in told["exception"]
        assert lines.access("unlucky")["status"] == 500


class TestAccessLines:
    def test_one_for_each_request_with_who_and_what(self, keyed: Served, lines: Lines) -> None:
        key = keyed.key("jobs:read", tenant="search")
        job_id = keyed.submit("search")
        headers = {"Authorization": f"Bearer {key.text}", "X-Request-ID": "look"}
        keyed.http.get(f"/v1/jobs/{job_id}", headers=headers)
        line = lines.access("look")
        assert 0 < line.pop("seconds") < 60
        assert line.pop("time")
        assert line == {
            "level": "INFO",
            "logger": "api.access",
            "message": line["message"],
            "request_id": "look",
            "tenant": "search",
            "key": key.key.id,
            "job": job_id,
            "method": "GET",
            "route": "/v1/jobs/{job_id}",
            "status": 200,
        }

    def test_nothing_of_a_query_a_key_or_a_path_is_in_it(self, keyed: Served, lines: Lines) -> None:
        key = keyed.key("jobs:read")
        headers = {"Authorization": f"Bearer {key.text}", "Cookie": f"secateur_key={key.text}"}
        keyed.http.get("/v1/jobs?after=QUERYSECRET&metadata.a=QUERYSECRET", headers=headers)
        keyed.http.get("/QUERYSECRET?a=b", headers=headers)
        keyed.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        ours = [t for t in lines.texts if json.loads(t)["logger"].startswith(("api", "core"))]
        assert ours
        for secret in ("QUERYSECRET", key.text, key.text[-64:], TOKEN):
            assert not any(secret in text for text in ours)

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    def test_probes_are_for_those_who_debug(self, server: Served, lines: Lines, path: str) -> None:
        server.http.get(path, headers={"X-Request-ID": "probe"})
        assert lines.access("probe")["level"] == "DEBUG"

    def test_lines_within_a_request_have_its_id(self, server: Served, lines: Lines) -> None:
        server.post(server.spec(), **{"X-Request-ID": "posted"})
        doorbell = lines.by("api.doorbell", "posted")
        assert doorbell["job"].startswith("job_")
        assert doorbell["tenant"] == "default"


class TestMetrics:
    def test_what_is_told_from_the_start_is_told_as_zero(self, tmp_path: Path) -> None:
        with served(tmp_path) as fresh:
            found = scraped(fresh)
        for outcome in OUTCOMES:
            assert found["secateur_jobs_finished_total", (("outcome", outcome),)] == 0
        for reason in REASONS:
            assert found["secateur_requeues_total", (("reason", reason),)] == 0
        for phase in TIMED:
            assert found["secateur_phase_seconds_count", (("phase", phase),)] == 0

    def test_jobs_are_told_from_the_database(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.metrics.CACHE_SECONDS", 0.0)
        with served(tmp_path) as server:
            done = server.succeeded({"model/config.json": b"{}"})
            server.running()
            server.submit("another")
            epoch = server.claim(late := server.submit())
            server.jobs.spent(late, epoch, {"pruning": 20.0}, {}, server.jobs.get("default", done).created_at)  # fmt: skip
            found = scraped(server)
        assert found["secateur_jobs", (("state", "queued"),)] == 1
        assert found["secateur_jobs", (("state", "running"),)] == 2
        assert found["secateur_jobs_accepted_total", ()] == 4
        assert found["secateur_oldest_queued_job_age_seconds", ()] > 0
        buckets = {
            dict(labels)["le"]: value
            for (name, labels), value in found.items()
            if name == "secateur_phase_seconds_bucket" and dict(labels)["phase"] == "pruning"
        }
        assert (buckets["15.0"], buckets["60.0"], buckets["+Inf"]) == (0, 1, 1)
        assert list(buckets.values()) == sorted(buckets.values())

    def test_requests_are_told_by_template(self, server: Served) -> None:
        for n in range(3):
            server.http.get(f"/v1/jobs/job_{n:024d}")
            server.http.get(f"/made-up-{n}")
            server.http.request(("PROPFIND", "REPORT", "MKCOL")[n], "/v1/methods")
        found = scraped(server)
        count = "secateur_http_request_seconds_count"
        labels = {dict(labels)["route"] for (name, labels) in found if name == count}
        assert labels <= {"/v1/jobs/{job_id}", "/v1/jobs", "/healthz", "/readyz", "/metrics",
                          "/v1/methods", "unmatched", "/v1/jobs/{job_id}/events"}  # fmt: skip
        refused = (("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "4xx"))
        assert found[count, refused] >= 3
        odd = (("method", "OTHER"), ("route", "/v1/methods"), ("status", "4xx"))
        assert found[count, odd] == 3
        assert found["secateur_http_requests_in_flight", ()] == 1  # this one

    def test_nothing_names_a_tenant_a_job_a_model_or_a_key(self, keyed: Served) -> None:
        key = keyed.key("jobs:read", tenant="verysecrettenant")
        job_id = keyed.submit("verysecrettenant")
        keyed.http.get(f"/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {key.text}"})
        text = keyed.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
        for name in ("verysecrettenant", job_id, "models/a", key.key.id):
            assert name not in text

    def test_a_database_that_is_away_is_a_metric(self, tmp_path: Path) -> None:
        with served(tmp_path, metrics_token=TOKEN) as server:
            (tmp_path / "jobs.db").unlink()
            found = scraped(server, Authorization=f"Bearer {TOKEN}")
        assert found["secateur_database_up", ()] == 0
        assert ("secateur_jobs", (("state", "queued"),)) not in found
        assert "secateur_http_requests_in_flight" in {name for name, _ in found}

    def test_openmetrics_is_spoken_too(self, server: Served) -> None:
        accept = "application/openmetrics-text;version=1.0.0"
        answer = server.http.get("/metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


class TestWhoMayRead:
    def test_the_token_does(self, keyed: Served) -> None:
        scraped(keyed, Authorization=f"Bearer {TOKEN}")
        # Prometheus addresses a machine by its number.
        scraped(keyed, Authorization=f"bearer  {TOKEN}", Host="10.1.2.3:8000")

    @pytest.mark.parametrize(
        "header", ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é", TOKEN]
    )
    def test_nothing_else_does(self, keyed: Served, header: str) -> None:
        sent = {b"Authorization": header.encode("latin-1")} if header else {}
        answer = keyed.http.get("/metrics", headers=sent)
        assert (answer.status_code, answer.json()["code"]) == (401, "metrics-token-needed")
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert TOKEN not in answer.text

    def test_no_key_of_a_tenant_does_not_even_an_admins(self, keyed: Served) -> None:
        for page in ("navigate", "cors"):
            headers = {
                "Authorization": f"Bearer {keyed.key('admin').text}",
                "Sec-Fetch-Mode": page,
            }
            assert keyed.http.get("/metrics", headers=headers).status_code == 401

    def test_without_a_token_nobody_does_once_there_is_a_key(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            scraped(server)
            server.key()
            refused = server.http.get("/metrics")
            assert refused.status_code == 401
            assert "SECATEUR_METRICS_TOKEN" in refused.json()["remedy"]

    def test_a_token_counts_where_there_are_no_keys(self, tmp_path: Path) -> None:
        with served(tmp_path, metrics_token=TOKEN) as server:
            assert server.http.get("/metrics").status_code == 401
            scraped(server, Authorization=f"Bearer {TOKEN}")
