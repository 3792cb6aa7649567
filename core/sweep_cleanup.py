"""Removes what sweeps kept for their jobs, once no job has any use for it."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from core.jobs.objects import SWEEPS, sweep_of
from core.jobs.store import JobStore
from core.store.base import ObjectInfo, ObjectStore


def clean_sweeps(
    jobs: JobStore,
    store: ObjectStore,
    now: datetime,
    *,
    unknown: timedelta | None,
    as_if_expired: Collection[str] | None = None,
) -> Iterator[ObjectInfo]:
    """Every object that went, or would go: of sweeps all of whose jobs have ended, and have no result
    (any more); and, with `unknown`, of those that the database does not know and nobody has written to
    for so long. With `as_if_expired`, jobs whose results are about to go, nothing is removed.

    Looked up in the store first and in the database after that, as `core.cleanup` does.
    """
    folders: dict[str, list[ObjectInfo]] = {}
    for info in store.list(SWEEPS):
        if sweep_id := sweep_of(info.key):
            folders.setdefault(sweep_id, []).append(info)
    standings = jobs.sweep_standings(folders, as_if_expired or ())
    for sweep_id, objects in folders.items():
        standing, newest = standings.get(sweep_id), max(info.modified for info in objects)
        if standing is None:
            goes = unknown is not None and now - newest > unknown
        else:
            goes = not standing.alive
        if goes:
            if as_if_expired is None:
                store.delete_prefix(f"{SWEEPS}{sweep_id}")
            yield from objects
