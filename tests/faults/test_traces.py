"""One trace from a request to the phases of its run, and what happens without anybody to collect it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from core.jobs.states import State
from tests.faults.farm import Farm, clean_environment, stop
from tests.otlp import Collector, Seen, collecting
from tests.served import served

pytest.importorskip("opentelemetry.sdk")

CLIENT_TRACE, CLIENT_SPAN = "c" * 32, "d" * 16
TRACEPARENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"
SERVER, CONSUMER = 2, 5  # as OTLP numbers kinds of spans


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def traced(farm: Farm, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Have the farm's workers, and servers of this process, send to `endpoint`."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    (farm.folder / "models" / "a").mkdir(parents=True)


def finished(farm: Farm, **headers: str) -> str:
    """A job that was posted over HTTP and has been carried out; the server is gone again."""
    with served(
        farm.folder, broker_url=farm.broker.url, database_url=farm.url, store_url=farm.store_url
    ) as api:
        api.http.get("/healthz")
        answer = api.post(api.spec(), **headers)
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["id"])
        assert farm.await_end(job_id).state is State.SUCCEEDED
    return job_id


def named(spans: list[Seen], name: str) -> Seen:
    (found,) = [span for span in spans if span.name == name]
    return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def test_a_job_is_one_trace_from_request_to_phase(
    farm: Farm, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced(farm, monkeypatch, collector.url)
    worker = farm.start_worker()
    job_id = finished(farm, traceparent=TRACEPARENT, **{"X-Request-ID": "asked"})
    assert stop(worker) == 0
    spans = collector.of(CLIENT_TRACE)
    assert {span.trace for span in spans} == {CLIENT_TRACE}

    request = named(spans, "POST /v1/jobs")
    assert (request.service, request.kind, request.parent) == ("secateur-api", SERVER, CLIENT_SPAN)
    assert request.attributes["http.response.status_code"] == "202"
    assert request.attributes["secateur.request_id"] == "asked"
    assert request.attributes["secateur.job"] == job_id

    attempt = named(spans, "attempt")
    assert (attempt.service, attempt.kind) == ("secateur-worker", CONSUMER)
    assert attempt.parent == request.span
    assert attempt.attributes["secateur.job"] == job_id
    assert attempt.attributes["secateur.state"] == "succeeded"

    run = named(spans, "run")
    assert run.parent == attempt.span
    phases = [span for span in spans if span.parent == run.span]
    assert [span.name for span in sorted(phases, key=lambda s: s.began)] == [
        "starting", "fetching", "analysing", "pruning", "evaluating", "publishing",
    ]  # fmt: skip
    assert all(run.began <= phase.began <= phase.ended <= run.ended for phase in phases)
    assert attempt.began <= run.began <= run.ended <= attempt.ended
    assert not any(span.failed for span in spans)
    assert not any(span.name.endswith("healthz") for span in collector.spans)

    told = farm.tail()
    assert "component=runner" in told
    for line in told.splitlines():
        if f"job={job_id}" in line:
            assert f"request_id=asked trace_id={CLIENT_TRACE}" in line


def test_a_run_that_is_killed_has_failed_and_the_next_is_in_the_same_trace(
    farm: Farm, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced(farm, monkeypatch, collector.url)
    worker = farm.start_worker()
    job_id = farm.post(fate="killed-once")
    assert farm.await_end(job_id).state is State.SUCCEEDED
    assert stop(worker) == 0
    attempts = [span for span in collector.spans if span.name == "attempt"]
    assert [span.failed for span in attempts] == [True, False]
    runs = [span for span in collector.spans if span.name == "run"]
    assert [span.failed for span in runs] == [True, False]
    assert [run.parent for run in runs] == [attempt.span for attempt in attempts]


@pytest.mark.parametrize("away", ["refused", "silent"])
def test_a_collector_that_is_away_costs_nothing(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if away == "silent":
            listener.listen()  # connections wait, and nobody ever answers
        traced(farm, monkeypatch, f"http://127.0.0.1:{listener.getsockname()[1]}")
        worker = farm.start_worker()
        job_id = finished(farm)
        assert stop(worker) == 0
    told = farm.events(job_id)
    assert [event.data["state"] for event in told if event.type == "state"] == [
        "queued", "running", "succeeded",
    ]  # fmt: skip
    assert "Traceback" not in farm.tail()


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None;"  # redis-py would look for it
        "from core.telemetry.tracing import open_tracer; import api.app, workers.app;"
        "open_tracer('x');"
        "print([m for m in sys.modules if m.startswith(('core.telemetry.otlp', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
