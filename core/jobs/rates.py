"""How fast a tenant's last jobs were, from what their own reports say."""

import json
import time
from collections import OrderedDict
from statistics import median
from threading import Lock
from typing import Final

from core.crew import Tell, work_off
from core.errors import SecateurError
from core.jobs.states import State
from core.jobs.store import JobStore
from core.store.base import ObjectStore
from core.store.manifest import MANIFEST

LAST: Final = 5
SECONDS: Final = 2.0
"""How long a store may take to tell: an estimate is worth more than its seconds."""
REMEMBERED: Final = 4096
REPORT: Final = "report/report.json"


class Rates:
    """Reads each report once. Safe to share between threads."""

    def __init__(self, jobs: JobStore, store: ObjectStore) -> None:
        self._jobs, self._store = jobs, store
        self._lock = Lock()
        self._known: OrderedDict[str, float | None] = OrderedDict()

    def flops_per_second(self, tenant: str) -> float | None:
        """The median over the tenant's last finished jobs; None where there is none, or nobody tells
        in time.

        Raises:
            StoreUnavailable: the database is away.
        """
        page = self._jobs.list(tenant, state=State.SUCCEEDED, limit=LAST)
        ids = [job.id for job in page.data if job.expired_at is None]
        self._look_at(tenant, [job_id for job_id in ids if job_id not in self._known])
        with self._lock:
            rates = [rate for job_id in ids if (rate := self._known.get(job_id)) is not None]
        return median(rates) if rates else None

    def _look_at(self, tenant: str, ids: list[str]) -> None:
        start = time.monotonic()

        def tell(_: int) -> None:
            if time.monotonic() - start > SECONDS:
                raise TimeoutError

        def look(job_id: str, _: Tell) -> None:
            self._remember(job_id, self._read(tenant, job_id))

        try:
            work_off(ids, look, LAST, tell)
        except (TimeoutError, SecateurError):
            return  # those that were read are remembered; the others are asked for another time

    def _remember(self, job_id: str, rate: float | None) -> None:
        with self._lock:
            self._known[job_id] = rate
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _read(self, tenant: str, job_id: str) -> float | None:
        key = self._jobs.manifest_key(tenant, job_id)
        if key is None:
            return None
        return rate_of(self._store.read_bytes(key.removesuffix(MANIFEST) + REPORT))


def rate_of(report: bytes) -> float | None:
    """FLOPs a second of the run that `report` describes; None where it does not say."""
    try:
        actual = json.loads(report)["actual"]
        flops, seconds = float(actual["flops"]), float(actual["seconds"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return flops / seconds if flops > 0 and seconds > 0 else None
