"""One claim as those see it who only look on: its trace, its phases, what it held. Decides nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.jobs.leases import Claim
from core.jobs.origin import trace_id_of
from core.jobs.states import State
from core.telemetry import fields
from core.telemetry.tracing import Span, Tracer, Untraced
from workers.gauges import Gauges
from workers.protocol import Done, Failed, Measured, Moved, Result, Said, Stopped
from workers.timing import Timing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Whom a supervisor tells."""

    tracer: Tracer
    gauges: Gauges
    clock: Callable[[], float] = time.time

    @classmethod
    def off(cls) -> "Telemetry":
        return cls(Untraced(), Gauges())


class Onlooker:
    """Told of what happens to one claim, from here to `close`."""

    def __init__(self, telemetry: Telemetry, claim: Claim) -> None:
        self._telemetry = telemetry
        self._span = telemetry.tracer.begin(
            "attempt",
            kind="consumer",
            parent=claim.origin.traceparent,
            attributes={
                "secateur.job": claim.job_id,
                "secateur.tenant": claim.tenant,
                "secateur.attempt": claim.attempt,
                "secateur.epoch": claim.epoch,
            },
        )
        fields.note(trace_id=trace_id_of(self._span.traceparent))
        self._run: Span | None = None
        self._timing = Timing(telemetry.clock())
        self._told = 0
        self._sent = 0
        self.measured: Measured | None = None

    @property
    def traceparent(self) -> str | None:
        """Of the runner that has begun; else of the attempt."""
        return (self._run or self._span).traceparent

    def begins(self) -> None:
        """A runner is about to be started."""
        at = self._telemetry.clock()
        self._timing.ended(at)
        self._told = len(self._timing.spans)
        self._sent = 0
        self._telemetry.gauges.set(running=1, gpu_bytes=0, gpu_peak_bytes=0, host_peak_bytes=0)
        self._run = self._telemetry.tracer.begin("run", parent=self._span.traceparent, at=at)

    def heard(self, line: Said) -> None:
        """What the runner said."""
        if isinstance(line, Moved):
            self._timing.heard(line.phase, self._telemetry.clock())
        elif isinstance(line, Measured):
            self.measured = line
            gauges = self._telemetry.gauges
            gauges.add("sent_bytes", line.sent_bytes - self._sent)
            self._sent = line.sent_bytes
            gauges.set(**line.model_dump(exclude={"kind", "sent_bytes", "result_bytes"}))

    def ended(self, result: Result | None, death: str) -> None:
        """A runner is gone, with its last word or, without one, by its `death`."""
        at, gauges = self._telemetry.clock(), self._telemetry.gauges
        self._timing.ended(at)
        for phase in self._timing.spans[self._told :]:
            self._phase(phase.phase, phase.began, phase.ended)
        if self._run:
            if not isinstance(result, Done):
                self._run.fail(result.code if isinstance(result, Failed) else death)
            self._run.end(at)
        gauges.set(running=0, gpu_bytes=0)
        gauges.add(_counted(result), 1)

    def seconds(self) -> dict[str, float]:
        """The time of each phase so far, over all runners of the attempt; none of what took none."""
        return {phase: round(took, 3) for phase, took in self._timing.seconds().items() if took}

    def held(self) -> dict[str, int]:
        """What the runner last said that it held and had moved."""
        said = self.measured
        return said.model_dump(exclude={"kind"}, exclude_none=True) if said else {}

    def close(self, state: State | None) -> None:
        """The attempt has ended, and left its job in `state`; in none if it was no longer its own."""
        self._span.tell(attributes={"secateur.state": state.value if state else "lost"})
        if state not in (State.SUCCEEDED, State.CANCELLED):
            self._span.fail(f"the job is {state}" if state else "the lease was lost")
        self._span.end()

    def _phase(self, name: str, began: float, ended: float) -> None:
        parent = self.traceparent
        self._telemetry.tracer.begin(name, parent=parent, at=began).end(ended)


def _counted(result: Result | None) -> str:
    if result is None:
        return "runs_died"
    return {Done: "runs_done", Failed: "runs_failed", Stopped: "runs_stopped"}[type(result)]


@contextmanager
def bound_to(claim: Claim) -> Iterator[None]:
    """Within the block, log lines say whose attempt they are about."""
    with fields.bind(
        job=claim.job_id,
        tenant=claim.tenant,
        attempt=claim.attempt,
        epoch=claim.epoch,
        request_id=claim.origin.request_id,
        trace_id=trace_id_of(claim.origin.traceparent),
    ):
        yield
