"""Traces over OTLP/HTTP. Importing this loads OpenTelemetry, so only `open_tracer` does."""

import logging
import os
import threading
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.telemetry.tracing import Attributes, Kind, Span

_KINDS: Final = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NANO: Final = 1_000_000_000
_DELAY_MILLIS: Final = 1000  # a worker that is killed loses this much
_ATTEMPT_SECONDS: Final = 5  # with which the exporter gives a batch up


class OtlpTracer:
    """Sends in a thread of its own. A collector that is away costs spans, never time."""

    def __init__(self, service: str) -> None:
        named = os.environ.get("OTEL_SERVICE_NAME") or service
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: named}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(timeout=_ATTEMPT_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MILLIS)
        )
        self._tracer = self._provider.get_tracer("secateur")
        # It would say so for each batch, with a traceback.
        logging.getLogger("opentelemetry").addFilter(_first_line)

    def begin(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: str | None = None,
        at: float | None = None,
        attributes: Attributes | None = None,
    ) -> Span:
        above = _PROPAGATOR.extract({"traceparent": parent} if parent else {}, Context())
        return OtlpSpan(
            self._tracer.start_span(
                name,
                context=above,
                kind=_KINDS[kind],
                attributes=attributes,
                start_time=_nanoseconds(at),
            )
        )

    def close(self, seconds: float) -> None:
        # The exporter goes on for as long as its patience lasts: it is not waited for longer.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)


class OtlpSpan:
    """One span of OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier.get("traceparent")

    def tell(self, name: str | None = None, attributes: Attributes | None = None) -> None:
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(dict(attributes or {}))

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why[:500]))

    def end(self, at: float | None = None) -> None:
        self._span.end(_nanoseconds(at))


def _nanoseconds(at: float | None) -> int | None:
    return None if at is None else int(at * _NANO)


def _first_line(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True
