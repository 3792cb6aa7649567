"""Removes what clients have deleted: the objects, and then the row that remembers them."""

import logging
from datetime import datetime, timedelta

from core.jobs.objects import FOLDER, SWEEPS
from core.jobs.store import JobStore
from core.store.base import ObjectStore

logger = logging.getLogger(__name__)


def remove(jobs: JobStore, store: ObjectStore, job_id: str, now: datetime) -> None:
    """Remove a buried job for good. Safe to do twice, and at once.

    Raises:
        StoreError: not everything could be removed; the row stays until a later call has.
    """
    # Uploads first: one that comes to its end meanwhile is an object by the time those go.
    store.abort_uploads(f"{FOLDER}{job_id}/", timedelta(0), now)
    store.delete_prefix(f"{FOLDER}{job_id}")
    jobs.erase(job_id)


def remove_sweep(jobs: JobStore, store: ObjectStore, sweep_id: str, now: datetime) -> None:
    """Remove a buried sweep for good, but for its jobs. Safe to do twice, and at once.

    Raises:
        StoreError: not everything could be removed; the row stays until a later call has.
    """
    store.abort_uploads(f"{SWEEPS}{sweep_id}/", timedelta(0), now)
    store.delete_prefix(f"{SWEEPS}{sweep_id}")
    jobs.erase_sweep(sweep_id)


def finish_removals(jobs: JobStore, store: ObjectStore, now: datetime) -> None:
    """What is left to do of deletions that were broken off; one batch. Raises StoreError."""
    for job_id in jobs.buried():
        remove(jobs, store, job_id, now)
        logger.info("%s: what was left of it after its deletion is gone", job_id)
    for sweep_id in jobs.buried_sweeps():
        remove_sweep(jobs, store, sweep_id, now)
        logger.info("%s: what was left of it after its deletion is gone", sweep_id)
