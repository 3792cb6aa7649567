"""The Celery worker: one job at a time, doorbells without results, and a reaper beside it."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from time import monotonic, time

from billiard import set_start_method
from celery import Celery, signals
from celery.worker import state as worker_state

from core.errors import BadRequest
from core.jobs.migrate import migrate
from core.jobs.presence import Presence
from core.jobs.store import JobStore
from core.processes import hide_from_peers
from core.settings import Settings
from core.store.urls import open_store
from core.telemetry import fields, logs
from workers import metrics, scratch, tasks
from workers.bell import QUEUE, Bell
from workers.configuration import Places
from workers.couriers import Couriers
from workers.gauges import Gauges
from workers.hearing import Hearing
from workers.presence import presence, tell, worker_id
from workers.reaper import Reaper

logger = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; Celery's exit status.

    On the first signal a running job goes back into the queue and the worker leaves in seconds.

    Raises:
        BadRequest: database, broker or store is not configured.
        StoreUnavailable: the database cannot be reached.
    """
    worker = worker_id(os.getpid())
    logs.configure(settings.log_format, settings.log_level, "worker")
    fields.always(worker=worker)
    # Its runners parse what strangers wrote, and this environment holds what theirs does not.
    hide_from_peers()
    places = Places.of(settings)
    if not places.broker_url.startswith(("redis://", "rediss://")):
        raise BadRequest("SECATEUR_BROKER_URL must be a redis:// or rediss:// URL.")
    migrate(places.database_url)
    left = scratch.remove_leftovers(scratch.base(settings.work_dir))
    app, leaving, gauges = create(places), tasks.Leaving(), Gauges()
    metrics.serve(settings, gauges)
    tasks.register(app, places, leaving, gauges, worker)
    beside = Beside(places, Bell(app, places.broker_url), leaving, gauges)
    couriers = Couriers(places, leaving)

    # Celery holds receivers weakly: these names keep them alive while it runs.
    def on_ready(**_: object) -> None:
        logger.info("ready; removed %d leftover scratch folders", left)
        beside.start()
        couriers.start()

    def on_leaving(**_: object) -> None:
        leaving.set()

    signals.setup_logging.connect(_keep_ours)
    signals.worker_ready.connect(on_ready)
    signals.worker_shutting_down.connect(on_leaving)
    # What the pool's process has to know (the task, `leaving`) comes to it by the fork.
    set_start_method("fork", force=True)
    celery = app.Worker(
        hostname=f"secateur-{os.getpid()}@{socket.gethostname()}",
        loglevel=settings.log_level,
        queues=[QUEUE],
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    celery.start()
    return int(celery.exitcode or 0)


def _keep_ours(**_: object) -> None:
    """Connected, it keeps Celery from setting up logging of its own."""


def create(places: Places) -> Celery:
    """The app: doorbells in, one at a time, and nothing back."""
    app = Celery("secateur", broker=places.broker_url, set_as_current=False)
    app.conf.update(
        # The row is the truth. A message acknowledged early is never run twice in parallel by a
        # broker that lost patience, and one that is lost is rung again.
        task_acks_late=False,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        # One job at a time; what waits stays in the broker, where any worker can take it.
        worker_pool="prefork",
        worker_concurrency=1,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=120,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
    )
    return app


class Beside:
    """The threads in the worker's main process. One recovers jobs, and notices when the worker went
    deaf; the other cleans up, which waits for the store."""

    def __init__(self, places: Places, bell: Bell, leaving: tasks.Leaving, gauges: Gauges) -> None:
        # Unpooled, and locked against forks: SQLite's state must not be copied half-way.
        self._jobs = JobStore.open(places.database_url, pooled=False)
        self._store = open_store(places.store_url)
        self._reaper = Reaper(self._jobs, self._store, bell, places.settings)
        self._bell, self._leaving, self._gauges = bell, leaving, gauges
        self._settings = places.settings
        self._pause = places.settings.scan_seconds
        self._alive = places.settings.alive_path
        self._hearing = Hearing()

    def start(self) -> None:
        for name, step in (("reaper", self._recover), ("cleaner", self._clean)):
            no_fork = threading.Lock()
            # One lock each: a fork waits for both steps, and neither step for the other.
            os.register_at_fork(
                before=no_fork.acquire,
                after_in_parent=no_fork.release,
                after_in_child=no_fork.release,
            )
            run = partial(self._run, step, no_fork)
            threading.Thread(target=run, name=name, daemon=True).start()

    def _run(self, step: Callable[[threading.Lock], None], no_fork: threading.Lock) -> None:
        wake = threading.Event()
        while not self._leaving():
            try:
                step(no_fork)
            except Exception:  # the thread must outlive whatever one scan meets
                logger.exception("a scan failed; the next one comes in %g s", self._pause)
            wake.wait(self._pause)

    @cached_property
    def _us(self) -> Presence:
        """Found when it is first told: the driver takes seconds to answer."""
        return presence(self._settings, datetime.now(UTC), os.environ)

    def _recover(self, no_fork: threading.Lock) -> None:
        us = self._us
        with no_fork:
            tell(self._jobs, us, datetime.now(UTC), self._pause)
            self._reaper.recover(datetime.now(UTC), monotonic())
        self._gauges.set(scanned_at=time())
        self._listen()
        # Also where database or broker did not answer: a worker outlives their absence, and must not
        # be killed for it together with its run.
        if self._alive:
            self._alive.touch()

    def _clean(self, no_fork: threading.Lock) -> None:
        with no_fork:
            self._reaper.clean(datetime.now(UTC), monotonic())

    def _listen(self) -> None:
        """Leave when messages wait and this idle worker does not take them.

        Celery has stopped consuming after some broker reconnects (celery issues 10205, 10302).
        Whatever keeps services running starts a new worker.
        """
        idle = not worker_state.reserved_requests and not worker_state.active_requests
        if self._hearing.lost(
            idle=idle, waiting=self._bell.waiting() if idle else None, now=monotonic()
        ):
            logger.error("messages wait and this worker hears none; leaving to be started anew")
            os._exit(1)
