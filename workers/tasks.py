"""The one Celery task. Nothing is decided here."""

import mmap
from datetime import UTC, datetime

from celery import Celery, signals

from core.jobs.store import JobStore
from core.store.urls import open_store
from workers.bell import TASK, Bell
from workers.configuration import Places
from workers.gauges import Gauges
from workers.observing import Telemetry
from workers.pool import PoolProcess
from workers.supervisor import Supervisor


class Leaving:
    """A flag that the worker's main process raises and its pool's process sees.

    Shared memory, made before the pool forks: raised in a signal handler, where a lock that the
    interrupted code holds would never come free.
    """

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def __call__(self) -> bool:
        return self._byte[0] != 0

    def set(self) -> None:
        self._byte[0] = 1


def register(app: Celery, places: Places, leaving: Leaving, gauges: Gauges, worker: str) -> None:
    """Give `app` the task that answers a doorbell."""

    process = PoolProcess()
    signals.worker_process_init.connect(process.begins, weak=False)
    signals.worker_process_shutdown.connect(process.ends, weak=False)

    def look_at(job_id: str) -> None:
        # Opened here, in the pool's process: connections must not come from before the fork.
        with JobStore.open(places.database_url) as jobs:
            Supervisor(
                jobs=jobs,
                store=open_store(places.store_url),
                store_url=places.store_url,
                settings=places.settings,
                worker=worker,
                now=lambda: datetime.now(UTC),
                stopping=leaving,
                ring=Bell(app, places.broker_url).ring,
                telemetry=Telemetry(process.tracer, gauges),
            ).look_at(job_id)

    app.task(name=TASK)(look_at)
