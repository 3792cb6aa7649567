"""The database's figures in Prometheus' words."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from core.errors import StoreUnavailable
from core.jobs.figures import Figures, Remembered
from core.jobs.tallies import BOUNDS, INFINITE, SUM, Key, Name
from core.progress import PHASES

# Told from the start, as zeros: a rate over a counter that appears with its first count misses it.
OUTCOMES: Final = ("succeeded", "failed", "cancelled")
REASONS: Final = ("lost", "died", "stalled", "out-of-memory", "given-back")
TIMED: Final = ("starting", *PHASES)


class JobCollector(Collector):
    """Asks whenever somebody scrapes. A database that does not answer is a metric, too."""

    def __init__(self, figures: Remembered, now: Callable[[], datetime]) -> None:
        self._figures, self._now = figures, now

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that a registry asks no database before there is one."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            figures = self._figures()
        except StoreUnavailable:
            yield _database_up(0)
            return
        yield _database_up(1)
        yield from families(figures, self._now())


def families(figures: Figures, now: datetime) -> Iterator[Metric]:
    """All metrics that come from the database."""
    yield _jobs(figures)
    since = figures.oldest_queued
    waited = max((now - since).total_seconds(), 0.0) if since else 0.0
    yield GaugeMetricFamily(
        "secateur_oldest_queued_job_age_seconds",
        "how long the job has waited that has waited longest; 0 if none waits",
        value=waited,
    )
    yield GaugeMetricFamily(
        "secateur_busy_workers", "workers that hold a job", value=figures.busy_workers
    )
    yield GaugeMetricFamily(
        "secateur_stored_bytes",
        "bytes of all results that have not expired",
        value=figures.stored_bytes,
    )
    counts = figures.counts
    yield _counter(counts, "jobs_accepted", "secateur_jobs_accepted", "jobs accepted")
    yield _by_label(
        counts, "jobs_finished", "secateur_jobs_finished", "jobs ended", "outcome", OUTCOMES
    )
    yield _counter(counts, "attempts_started", "secateur_attempts_started", "runs begun")
    yield _by_label(
        counts,
        "requeues",
        "secateur_requeues",
        "runs that ended with their job in the queue again",
        "reason",
        REASONS,
    )
    yield _counter(
        counts,
        "results_expired",
        "secateur_results_expired",
        "results that were removed by retention",
    )
    waits = HistogramMetricFamily(
        "secateur_job_wait_seconds", "seconds in the queue before each run", labels=[]
    )
    waits.add_metric([], *_buckets(counts, "wait_seconds", ""))
    yield waits
    phases = HistogramMetricFamily(
        "secateur_phase_seconds", "seconds of a run in each phase", labels=["phase"]
    )
    for phase in TIMED:
        phases.add_metric([phase], *_buckets(counts, "phase_seconds", phase))
    yield phases


def _database_up(value: int) -> Metric:
    return GaugeMetricFamily(
        "secateur_database_up",
        "1 if the database answered; else what comes from it is missing",
        value=value,
    )


def _jobs(figures: Figures) -> Metric:
    family = GaugeMetricFamily("secateur_jobs", "jobs that have not ended", labels=["state"])
    for state, count in figures.jobs.items():
        family.add_metric([state.value], count)
    return family


def _counter(counts: Mapping[Key, float], name: Name, metric: str, told: str) -> Metric:
    return CounterMetricFamily(metric, told, value=counts.get(Key(name), 0.0))


def _by_label(
    counts: Mapping[Key, float],
    name: Name,
    metric: str,
    told: str,
    label: str,
    values: Iterable[str],
) -> Metric:
    family = CounterMetricFamily(metric, told, labels=[label])
    for value in values:
        family.add_metric([value], counts.get(Key(name, value), 0.0))
    return family


def _buckets(
    counts: Mapping[Key, float], name: Name, label: str
) -> tuple[list[tuple[str, float]], float]:
    """Prometheus' buckets, each of which holds the ones before it; and the sum."""
    bounds = [f"{bound:g}" for bound in BOUNDS] + [INFINITE]
    alone = (counts.get(Key(name, label, bound), 0.0) for bound in bounds)
    named = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
    return list(zip(named, accumulate(alone), strict=True)), counts.get(Key(name, label, SUM), 0.0)
