"""Traces, where somebody collects them. Without a collector nothing is loaded and nothing is kept.

A span's place in its trace is passed on as the W3C `traceparent`: in a job's first event, to its
supervisor, to its runner. The collector is named by OpenTelemetry's own variables.
"""

import logging
import os
from collections.abc import Mapping
from typing import Final, Literal, Protocol

logger = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Kind = Literal["server", "consumer", "internal"]
Attributes = Mapping[str, str | int | float]


class Span(Protocol):
    """Something that has begun."""

    @property
    def traceparent(self) -> str | None:
        """For what happens on behalf of it, wherever that is; None outside of any trace."""

    def tell(self, name: str | None = None, attributes: Attributes | None = None) -> None:
        """Add what has been found out since."""

    def fail(self, why: str) -> None:
        """It went wrong; call it before the end."""

    def end(self, at: float | None = None) -> None:
        """It is over, now or at a time of the wall clock; then it may be sent."""


class Tracer(Protocol):
    """Begins spans. Neither this nor anything about a span ever raises or waits for the collector."""

    def begin(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: str | None = None,
        at: float | None = None,
        attributes: Attributes | None = None,
    ) -> Span:
        """A span below `parent`, a `traceparent`; without one, the first of a new trace."""

    def close(self, seconds: float) -> None:
        """Send what is left, for that long at most."""


class _Untold:
    """A span that nobody hears of. What is below it belongs to the trace it was begun in."""

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def tell(self, name: str | None = None, attributes: Attributes | None = None) -> None:
        pass

    def fail(self, why: str) -> None:
        pass

    def end(self, at: float | None = None) -> None:
        pass


class Untraced:
    """The tracer of those who have no collector."""

    def begin(
        self,
        name: str,  # noqa: ARG002 - the protocol's
        *,
        kind: Kind = "internal",  # noqa: ARG002 - likewise
        parent: str | None = None,
        at: float | None = None,  # noqa: ARG002 - likewise
        attributes: Attributes | None = None,  # noqa: ARG002 - likewise
    ) -> Span:
        return _Untold(parent)

    def close(self, seconds: float) -> None:
        pass


def open_tracer(service: str, environment: Mapping[str, str] = os.environ) -> Tracer:
    """A tracer for `service` that sends where the environment says; it keeps quiet where it says nothing.

    Belongs to the process that opens it: after a fork the child opens its own.
    """
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(environment.get(name) for name in ENDPOINTS):
        return Untraced()
    try:
        from core.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - only where it is wanted
    except ImportError as error:
        logger.warning("traces are not sent: %s; install secateur[otel]", error)
        return Untraced()
    return OtlpTracer(service)
