"""`/metrics` for Prometheus: what this process has answered, and how all jobs stand.

Nothing here has the name of a tenant, a job, a model or a key: their number has no bound, and who may
read metrics reads them of everybody. So no key of a tenant opens them either: the operator's own token
does.
"""

import hmac
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from pydantic import SecretStr

from api.auth import access_of
from api.exposition import JobCollector
from api.problems import documented, problem_response
from core.errors import AccessDenied, StoreUnavailable
from core.jobs.figures import Figures, Remembered

CACHE_SECONDS: Final = 5.0
EXAMPLE: Final = """\
# HELP secateur_jobs jobs that have not ended
# TYPE secateur_jobs gauge
secateur_jobs{state="queued"} 3.0
secateur_jobs{state="running"} 1.0
"""

# Milliseconds for a 304, seconds for a page of a slow database, a minute for a long poll.
_LATENCY: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class MetricsTokenNeeded(AccessDenied):
    """Metrics are the operator's, and no key of a tenant opens them."""

    code = "metrics-token-needed"


class HttpMetrics:
    """Told of each request by the outermost middleware."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight: Final = Gauge(
            "secateur_http_requests_in_flight",
            "requests that are being answered",
            registry=registry,
        )
        self._seconds = Histogram(
            "secateur_http_request_seconds",
            "seconds until an answer began",
            ["route", "method", "status"],
            buckets=_LATENCY,
            registry=registry,
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        self._seconds.labels(route, method, f"{status // 100}xx").observe(seconds)


class Metrics:
    """All metrics of one process of the API, and who may read them."""

    def __init__(
        self,
        figures: Callable[[], Figures],
        now: Callable[[], datetime],
        token: SecretStr | None,
    ) -> None:
        # A series more for each, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._token = token
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.http: Final = HttpMetrics(self._registry)
        remembered = Remembered(figures, time.monotonic, CACHE_SECONDS)
        self._registry.register(JobCollector(remembered, now))

    def check(self, authorization: str, keys_demanded: Callable[[], bool]) -> None:
        """Raise MetricsTokenNeeded unless the header has the token.

        Without a token in the settings everybody may read whom the server serves without a key.
        """
        if self._token is None:
            if keys_demanded():
                raise MetricsTokenNeeded(
                    "metrics are about all tenants, and there is no token yet that opens them.",
                    remedy="Set SECATEUR_METRICS_TOKEN for the API, and send it as a bearer token.",
                )
            return
        scheme, _, text = authorization.partition(" ")
        told = text.strip().encode() if scheme.lower() == "bearer" else b""
        if not hmac.compare_digest(told, self._token.get_secret_value().encode()):
            raise MetricsTokenNeeded(
                "metrics are about all tenants, and the request does not have the token for them.",
                remedy="Send the server's SECATEUR_METRICS_TOKEN as `Authorization: Bearer …`.",
            )

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything in the format that `accept` asks for, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="In the text format, or as OpenMetrics by Accept",
    responses={
        200: {"content": {"text/plain": {"example": EXAMPLE}}},
        **documented(MetricsTokenNeeded, StoreUnavailable),
    },
)
def read_metrics(request: Request) -> Response:
    """Of this process and of all tenants' jobs. Opened by `SECATEUR_METRICS_TOKEN`, never by a key."""
    metrics = cast("Metrics", request.app.state.metrics)
    try:
        metrics.check(request.headers.get("authorization", ""), access_of(request).demanded)
    except MetricsTokenNeeded as refusal:
        # Answered here: what is raised would send a browser to log in, where no key would help.
        return problem_response(refusal)
    body, media_type = metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def install(app: FastAPI, metrics: Metrics) -> None:
    app.state.metrics = metrics
