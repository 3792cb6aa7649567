"""A worker's own metrics, on a port of its main process. Those about jobs are the API's."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.errors import BadRequest
from core.settings import Settings
from workers.gauges import Gauges

ENDS: Final = ("done", "failed", "stopped", "died")
GAUGES: Final = {
    "running": ("secateur_worker_running", "1 while a run goes on, else 0"),
    "host_peak_bytes": ("secateur_worker_host_peak_bytes", "memory that the last run's process held at most"),
    "scanned_at": ("secateur_worker_last_scan_timestamp_seconds", "when this worker last looked for lost jobs"),
}  # fmt: skip
# Only where a run has used a GPU.
GPU: Final = {
    "gpu_bytes": ("secateur_worker_gpu_bytes", "GPU memory that the run's process holds"),
    "gpu_peak_bytes": ("secateur_worker_gpu_peak_bytes", "GPU memory that the last run's process held at most"),
    "gpu_used_bytes": ("secateur_worker_gpu_used_bytes", "GPU memory that all processes hold, when the run last told"),
    "gpu_total_bytes": ("secateur_worker_gpu_total_bytes", "GPU memory that there is"),
}  # fmt: skip


class WorkerCollector(Collector):
    """Reads the shared page whenever somebody asks."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return self._families(gpu=True)

    def collect(self) -> Iterable[Metric]:
        return self._families(gpu=self._gauges["gpu_total_bytes"] > 0)

    def _families(self, *, gpu: bool) -> Iterator[Metric]:
        for slot, (name, told) in (GAUGES | (GPU if gpu else {})).items():
            yield GaugeMetricFamily(name, told, value=self._gauges[slot])
        runs = CounterMetricFamily(
            "secateur_worker_runs", "runs of this worker by their end", labels=["end"]
        )
        for end in ENDS:
            runs.add_metric([end], self._gauges[f"runs_{end}"])
        yield runs
        yield CounterMetricFamily(
            "secateur_worker_sent_bytes",
            "bytes that runs of this worker have put into the object store",
            value=self._gauges["sent_bytes"],
        )


def registry(gauges: Gauges) -> CollectorRegistry:
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    made.register(WorkerCollector(gauges))
    return made


def serve(settings: Settings, gauges: Gauges) -> None:
    """Answer on `metrics_port`, where there is one, for as long as the process lives.

    Raises:
        BadRequest: somebody else has the port, or the host is none of this machine.
    """
    if settings.metrics_port is None:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry(gauges))
    except OSError as error:
        raise BadRequest(
            f"metrics cannot be served on {settings.metrics_host}:{settings.metrics_port}:"
            f" {error.strerror or error}.",
            remedy="Choose another SECATEUR_METRICS_PORT or SECATEUR_METRICS_HOST, or leave the port unset.",
        ) from None
