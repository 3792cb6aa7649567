"""Webhooks go out beside the reaper: one thread looks what is due, one more for each that is sent."""

import logging
import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from core.errors import SecateurError
from core.jobs.courier import Courier
from core.jobs.deliveries import DeliveryStore
from core.jobs.outgoing import Due
from core.jobs.webhook_secrets import SecretStore
from core.webhooks.allowed import Allowed
from core.webhooks.sending import Sender
from workers.configuration import Places
from workers.forks import ForkGate

logger = logging.getLogger(__name__)

# At once, in one worker. A receiver that lets every sending run into its timeout holds two threads,
# a tenant with any number of such receivers four: twelve are left to the others.
THREADS: Final = 16
PER_TENANT: Final = 4
PER_HOST: Final = 2
_LOOKED_AT: Final = 128
_PAUSE_SECONDS: Final = 2.0  # how late a message may be that nobody was told of
_CLEAN_SECONDS: Final = 3600.0


def chosen(due: Iterable[Due], busy: Iterable[Due], room: int) -> list[Due]:
    """Those of `due`, at most `room`, that may be sent beside what is `busy`, in their order."""
    under_way = list(busy)
    of_tenant = Counter(each.tenant for each in under_way)
    of_host = Counter((each.tenant, each.host) for each in under_way)
    taken: list[Due] = []
    for each in due:
        here = (each.tenant, each.host)
        fits = of_tenant[each.tenant] < PER_TENANT and of_host[here] < PER_HOST
        if fits and len(taken) < room:
            taken.append(each)
            of_tenant[each.tenant] += 1
            of_host[here] += 1
    return taken


class Couriers:
    """The threads of one worker's main process. None of them delays a scan of the reaper's."""

    def __init__(self, places: Places, leaving: Callable[[], bool]) -> None:
        settings = places.settings
        self._store = DeliveryStore.open(places.database_url)
        self._courier = Courier(
            deliveries=self._store,
            secrets=SecretStore.open(places.database_url),
            sender=Sender(Allowed(settings.webhook_allow), settings.webhook_timeout_seconds),
            retries=settings.webhook_retry_seconds,
            clock=lambda: datetime.now(UTC),
            chance=random.random,
            entropy=secrets.token_bytes,
        )
        self._kept = timedelta(days=settings.webhook_keep_days)
        self._pause = min(_PAUSE_SECONDS, settings.scan_seconds)
        self._leaving = leaving
        self._gate = ForkGate()
        self._wake = threading.Event()
        self._busy: dict[str, Due] = {}  # by id; changed under the lock only
        self._lock = threading.Lock()
        self._clean_at = monotonic()

    def start(self) -> None:
        self._gate.register()
        threading.Thread(target=self._run, name="couriers", daemon=True).start()

    def _run(self) -> None:
        while not self._leaving():
            self._wake.clear()
            try:
                self._look()
                self._clean(monotonic())
            except SecateurError as error:
                logger.warning("%s", error)
            except Exception:  # the thread must outlive whatever one look meets
                logger.exception("no look at the webhooks; the next one comes in %g s", self._pause)
            self._wake.wait(self._pause)

    def _look(self) -> None:
        with self._lock:
            busy = list(self._busy.values())
        room = THREADS - len(busy)
        if room <= 0:
            return
        with self._gate.inside():
            due = self._courier.due(limit=_LOOKED_AT)
        for each in chosen((d for d in due if d.id not in self._busy), busy, room):
            with self._lock:
                self._busy[each.id] = each
            # A daemon: a worker that leaves does not wait for a stranger's server. What was under
            # way is delivered again when its lease is over.
            threading.Thread(
                target=self._deliver, args=(each,), name="courier", daemon=True
            ).start()

    def _deliver(self, due: Due) -> None:
        done = False
        try:
            with self._gate.inside():
                done = self._courier.deliver(due.id)
        except SecateurError as error:
            logger.warning("%s: %s", due.id, error)
        except Exception:  # its lease ends, and it is tried again
            logger.exception("%s: not delivered", due.id)
        finally:
            with self._lock:
                del self._busy[due.id]
        if done:  # there is room, and maybe more to do; else somebody else is at it
            self._wake.set()

    def _clean(self, tick: float) -> None:
        """Forget what is old and over, a batch at a time."""
        if tick < self._clean_at:
            return
        with self._gate.inside():
            gone = self._store.forget(datetime.now(UTC) - self._kept)
        if gone:
            logger.info("forgot %d deliveries", gone)
        else:
            self._clean_at = tick + _CLEAN_SECONDS
