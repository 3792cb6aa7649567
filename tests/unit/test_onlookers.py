"""What is noted about a run by those who only look on: phases, gauges."""

import socket
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from core.errors import BadRequest
from core.jobs.leases import Claim
from core.jobs.origin import Origin, trace_id_of
from core.jobs.states import State
from core.progress import Phase
from core.settings import Settings
from core.spec import parse_spec
from core.telemetry.tracing import Untraced, open_tracer
from workers.gauges import SLOTS, Gauges
from workers.metrics import registry, serve
from workers.observing import Onlooker, Telemetry
from workers.protocol import Done, Failed, Measured, Moved, Result
from workers.timing import STARTING, Timing

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def test_phases_follow_each_other_without_a_gap() -> None:
    timing = Timing(10.0)
    for at, phase in [
        (11.0, "fetching"),
        (12.0, "fetching"),
        (15.0, "pruning"),
        (16.0, "fetching"),
    ]:
        timing.heard(phase, at)
    timing.ended(18.0)
    assert timing.seconds() == {STARTING: 1.0, "fetching": 6.0, "pruning": 1.0}
    spans = [(span.phase, span.began, span.ended) for span in timing.spans]
    assert spans[1] == ("fetching", 11.0, 15.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e6))))
def test_phases_add_up_to_the_whole_however_the_clock_runs(heard: list[tuple[str, float]]) -> None:
    timing = Timing(0.0)
    latest = 0.0
    for phase, at in heard:
        timing.heard(phase, at)
        latest = max(latest, timing.began)
    timing.ended(1e6)
    assert sum(timing.seconds().values()) == pytest.approx(1e6)
    assert all(span.ended >= span.began for span in timing.spans)


@dataclass
class Looking:
    """An onlooker whose clock is set by hand."""

    now: float = 100.0
    gauges: Gauges = field(default_factory=Gauges)

    def __post_init__(self) -> None:
        telemetry = Telemetry(Untraced(), self.gauges, clock=lambda: self.now)
        spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
        claim = Claim("job_a", 1, 1, "t", spec, origin=Origin("r", TRACEPARENT))
        self.onlooker = Onlooker(telemetry, claim)

    def run(self, *said: tuple[float, Phase | Measured], result: Result | None) -> None:
        self.onlooker.begins()
        for seconds, what in said:
            self.now += seconds
            is_phase = isinstance(what, str)
            self.onlooker.heard(Moved(phase=what, fraction=0, message="") if is_phase else what)  # type: ignore[arg-type]  # a Measured is itself
        self.now += 1
        self.onlooker.ended(result, "killed")


def test_a_run_is_counted_by_its_end_and_bytes_by_what_came_new() -> None:
    looking = Looking()
    looking.run((1, "fetching"), (1, Measured(host_peak_bytes=5, sent_bytes=10)), result=None)
    looking.run(
        (2, "publishing"),
        (0, Measured(host_peak_bytes=7, sent_bytes=4)),
        (0, Measured(host_peak_bytes=7, sent_bytes=6, result_bytes=16, gpu_total_bytes=80)),
        result=Done(manifest_key="m"),
    )
    gauges = looking.gauges
    assert (gauges["runs_died"], gauges["runs_done"], gauges["running"]) == (1, 1, 0)
    assert (gauges["sent_bytes"], gauges["host_peak_bytes"]) == (16, 7)
    assert looking.onlooker.seconds() == {STARTING: 3.0, "fetching": 2.0, "publishing": 1.0}
    assert looking.onlooker.held()["result_bytes"] == 16


def test_a_failed_run_is_counted_as_one() -> None:
    looking = Looking()
    looking.run(result=Failed(code="c", message="m", remedy=""))
    assert looking.gauges["runs_failed"] == 1
    looking.onlooker.close(State.FAILED)


def test_without_a_collector_a_trace_is_passed_on_as_it_came() -> None:
    assert Looking().onlooker.traceparent == TRACEPARENT
    assert isinstance(open_tracer("s", {}), Untraced)
    disabled = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}
    assert isinstance(open_tracer("s", disabled), Untraced)


@pytest.mark.parametrize(
    "header",
    [
        "",
        None,
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        f" {TRACEPARENT}\n",
    ],
)
def test_what_is_no_traceparent_names_no_trace(header: str | None) -> None:
    assert trace_id_of(header) is None
    assert trace_id_of(TRACEPARENT) == "a" * 32


def test_gauges_are_seen_by_whoever_was_forked() -> None:
    gauges = Gauges()
    assert set(gauges.all().values()) == {0.0}
    gauges.set(running=1, gpu_bytes=None)
    gauges.add("sent_bytes", 2**40)
    gauges.add("sent_bytes", 1)
    assert (gauges["running"], gauges["sent_bytes"], gauges["gpu_bytes"]) == (1, 2**40 + 1, 0)
    assert len(SLOTS) == len(set(SLOTS))


def test_a_worker_tells_of_a_gpu_only_where_it_has_seen_one() -> None:
    gauges = Gauges()
    made = registry(gauges)
    assert b"gpu" not in generate_latest(made)
    gauges.set(gpu_total_bytes=80e9, gpu_bytes=1e9)
    gauges.add("runs_done", 1)
    told = generate_latest(made).decode()
    assert "secateur_worker_gpu_bytes 1e+09" in told
    assert 'secateur_worker_runs_total{end="done"} 1.0' in told


def test_a_worker_serves_its_numbers_where_it_is_told_to() -> None:
    gauges = Gauges()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        taken = Settings(metrics_port=port)
        probe.listen()
        with pytest.raises(BadRequest, match=f"127.0.0.1:{port}: Address already in use"):
            serve(taken, gauges)
    serve(Settings(), gauges)  # nowhere
    serve(taken, gauges)
    gauges.set(running=1)  # whatever comes later is told, too
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    assert "secateur_worker_running 1.0" in answer.text
