"""Every request seen from outside: its id, its log line, its latency, its place in a trace.

Outermost, so that it also sees what nobody foresaw. Plain ASGI: Starlette's BaseHTTPMiddleware would put a
task and a queue between each answer and its client.
"""

import logging
import re
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import HttpMetrics
from core.jobs.origin import trace_id_of
from core.telemetry import fields
from core.telemetry.tracing import Span, Tracer

logger = logging.getLogger("api.access")

REQUEST_ID: Final = "X-Request-ID"
QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
UNMATCHED: Final = "unmatched"

_GIVEN: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
# A client may send any word for a method, and each would be a time series for ever.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def install(app: FastAPI, metrics: HttpMetrics, tracer: Tracer, new_id: Callable[[], str]) -> None:
    """Put an observer around all of `app`, around its handler of unforeseen errors too."""
    build = app.build_middleware_stack

    def around() -> ASGIApp:
        return Observer(build(), metrics, tracer, new_id)

    app.build_middleware_stack = around  # type: ignore[method-assign]  # as OpenTelemetry does


class Observer:
    """ASGI middleware around everything. It never refuses and never changes what is answered."""

    def __init__(
        self, app: ASGIApp, metrics: HttpMetrics, tracer: Tracer, new_id: Callable[[], str]
    ) -> None:
        self.app = app
        self._metrics, self._tracer, self._new_id = metrics, tracer, new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = given_id(headers) or self._new_id()
        span = self._begin(scope, headers)
        answer = _Answer(send, request_id)
        traceparent = span.traceparent if span else given_trace(headers)
        scope["secateur.traceparent"] = traceparent
        with (
            fields.bind(request_id=request_id, trace_id=trace_id_of(traceparent)),
            self._metrics.in_flight.track_inprogress(),
        ):
            try:
                await self.app(scope, receive, answer)
            finally:
                self._tell(scope, answer, span)

    def _begin(self, scope: Scope, headers: Headers) -> Span | None:
        """A span; none for those who look every few seconds whether we live."""
        if scope["path"] in QUIET:
            return None
        method = _method(scope)
        return self._tracer.begin(method, kind="server", parent=given_trace(headers))

    def _tell(self, scope: Scope, answer: "_Answer", span: Span | None) -> None:
        route, method, status = route_of(scope), _method(scope), answer.status or 500
        self._metrics.answered(route, method, status, answer.until_start())
        took = perf_counter() - answer.began
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        if logger.isEnabledFor(level):
            told = {"method": method, "route": route, "status": status, "seconds": round(took, 6)}
            line = "%s %s %d in %.1f ms"
            logger.log(level, line, method, route, status, took * 1e3, extra={"fields": told})
        if span is not None:
            span.tell(f"{method} {route}", _attributes(route, method, status))
            if status >= 500:
                span.fail(f"status {status}")
            span.end()


class _Answer:
    """Passes an answer on, with the request's id in its head; remembers when and how it began."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.began = perf_counter()
        self._started: float | None = None
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._started = message["status"], perf_counter()
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
        await self._send(message)

    def until_start(self) -> float:
        """Without the time of the client's line: for all of a download that belongs to the client."""
        return (self._started or perf_counter()) - self.began


def given_id(headers: Headers) -> str | None:
    """The request's id where its client, or a proxy, gave it one that can be taken over as it is."""
    found = headers.getlist(REQUEST_ID)
    return found[0] if len(found) == 1 and _GIVEN.fullmatch(found[0]) else None


def given_trace(headers: Headers) -> str | None:
    """The client's `traceparent`, if it is one."""
    found = headers.get("traceparent")
    return found if trace_id_of(found) else None


def route_of(scope: Scope) -> str:
    """The template of the route that answered; there are only so many of them."""
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    mounted = scope.get("root_path", "")
    return f"{mounted}/{{path}}" if mounted and "endpoint" in scope else UNMATCHED


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


def _attributes(route: str, method: str, status: int) -> dict[str, Any]:
    told = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
    }
    known = fields.current()
    return told | {
        f"secateur.{name}": known[name] for name in ("request_id", "tenant", "job") if name in known
    }
