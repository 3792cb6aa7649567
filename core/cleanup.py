"""Removes what has outlived its use: old results, losing runs, unfinished uploads, unknown jobs' objects.

Nothing of a live job is ever touched. What is about to be removed is looked up in the store first
and in the database after that, so a job can only have moved on meanwhile: its epochs only rise.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import BaseModel

from core.jobs.objects import FOLDER, job_of, objects_of, resume_of, run_of
from core.jobs.reaping import Ended
from core.jobs.store import JobStore
from core.removal import finish_removals
from core.retention import Retention, expired
from core.store.base import ObjectStore
from core.sweep_cleanup import clean_sweeps

UNKNOWN_AGE: Final = timedelta(days=1)
"""How old everything of an unknown job must be: its row may not be where we look yet."""


class Tally(BaseModel):
    """What was, or would be, removed."""

    objects: int = 0
    bytes: int = 0
    uploads: int = 0


class Unknown(Tally):
    """What lies in folders of jobs that the database does not know."""

    jobs: int = 0


class Cleaned(BaseModel):
    """One whole cleaning. In a dry run: what another one would do now."""

    dry_run: bool
    expired_jobs: int = 0
    removed: Tally = Tally()
    unknown_removed: Unknown = Unknown()
    unknown_left: Unknown = Unknown()


def clean(
    jobs: JobStore,
    store: ObjectStore,
    retention: Retention,
    now: datetime,
    *,
    unknown: bool,
    dry_run: bool,
) -> Cleaned:
    """Remove everything that may go, and count it; `unknown` jobs' too, if that is wanted.

    Raises:
        StoreError: the database or the object store does not answer. What was done is done, and
            the next call goes on.
    """
    going = results_to_expire(jobs, retention, now)
    gone = going if dry_run else [job_id for job_id in going if jobs.expire(job_id, now)]
    # Before the sweep, which takes uploads along and does not count them.
    removed = Tally(uploads=abort_uploads(jobs, store, now, dry_run=dry_run))
    for ended in _to_sweep(jobs, going if dry_run else []):
        for prefix in losing_prefixes(ended):
            for info in store.list(f"{prefix}/"):
                removed.objects += 1
                removed.bytes += info.bytes
        if not dry_run:
            _sweep(jobs, store, ended)
    age, about = (UNKNOWN_AGE if unknown else None), (going if dry_run else None)
    for info in clean_sweeps(jobs, store, now, unknown=age, as_if_expired=about):
        removed.objects += 1
        removed.bytes += info.bytes
    if not dry_run:
        finish_removals(jobs, store, now)
    taken, left = _unknown(jobs, store, now, remove=unknown, dry_run=dry_run)
    return Cleaned(
        dry_run=dry_run,
        expired_jobs=len(gone),
        removed=removed,
        unknown_removed=taken,
        unknown_left=left,
    )


def results_to_expire(jobs: JobStore, retention: Retention, now: datetime) -> list[str]:
    """Jobs whose results their tenant's rule does not keep any more."""
    return [
        result.job_id
        for tenant in jobs.tenants_with_results()
        for result in expired(jobs.results(tenant), retention.rule_for(tenant), now)
    ]


def sweep(jobs: JobStore, store: ObjectStore) -> None:
    """Remove the objects of runs that did not win, once their job is over; one batch of jobs."""
    for ended in jobs.unswept():
        _sweep(jobs, store, ended)


def abort_uploads(
    jobs: JobStore, store: ObjectStore, now: datetime, *, dry_run: bool = False
) -> int:
    """Remove uploads that runs which are over left unfinished; how many there were."""
    found = Counter(run_of(upload.key) for upload in store.uploads(FOLDER))
    runs = [run for run in found if run is not None]
    standings = jobs.standings({job_id for job_id, _ in runs})
    over = [run for run in runs if run[0] in standings and standings[run[0]].is_over(run[1])]
    if dry_run:
        return sum(found[run] for run in over)
    return sum(store.abort_uploads(f"{objects_of(*run)}/", timedelta(0), now) for run in over)


def _to_sweep(jobs: JobStore, as_if_expired: list[str]) -> Iterator[Ended]:
    """Ended jobs with leftovers, and those in `as_if_expired` as they will be found later."""
    standings = jobs.standings(as_if_expired)
    yield from (Ended(job_id, standings[job_id].epoch, None) for job_id in as_if_expired)
    after = ""
    while batch := jobs.unswept(after=after):
        yield from (ended for ended in batch if ended.job_id not in standings)
        after = batch[-1].job_id


def _sweep(jobs: JobStore, store: ObjectStore, ended: Ended) -> None:
    for prefix in losing_prefixes(ended):
        store.delete_prefix(prefix)
    jobs.swept(ended)


def losing_prefixes(ended: Ended) -> list[str]:
    """The folders of every run of the job but the one that won, and of that one what it had kept to
    be resumed from."""
    winner = ended.manifest_key or ""
    return [
        resume_of(ended.job_id, epoch) if winner.startswith(f"{prefix}/") else prefix
        for epoch in range(1, ended.epoch + 1)
        if (prefix := objects_of(ended.job_id, epoch))
    ]


class _Folder(Unknown):
    """Everything below one job's folder, and when it was last written to."""

    jobs: int = 1
    newest: datetime = datetime.min.replace(tzinfo=UTC)


def _unknown(
    jobs: JobStore, store: ObjectStore, now: datetime, *, remove: bool, dry_run: bool
) -> tuple[Unknown, Unknown]:
    """What was removed, and what was left, of jobs that the database does not know."""
    folders = _folders(store)
    known = jobs.standings(folders)
    taken, left = Unknown(), Unknown()
    for job_id, folder in folders.items():
        if job_id in known:
            continue
        goes = remove and now - folder.newest > UNKNOWN_AGE
        if goes and not dry_run:
            store.delete_prefix(f"{FOLDER}{job_id}")
            store.abort_uploads(f"{FOLDER}{job_id}/", UNKNOWN_AGE, now)
        _add(taken if goes else left, folder)
    return taken, left


def _folders(store: ObjectStore) -> dict[str, _Folder]:
    folders: dict[str, _Folder] = {}
    for info in store.list(FOLDER):
        if job_id := job_of(info.key):
            folder = folders.setdefault(job_id, _Folder())
            folder.objects += 1
            folder.bytes += info.bytes
            folder.newest = max(folder.newest, info.modified)
    for upload in store.uploads(FOLDER):
        if job_id := job_of(upload.key):
            folder = folders.setdefault(job_id, _Folder())
            folder.uploads += 1
            folder.newest = max(folder.newest, upload.begun)
    return folders


def _add(total: Unknown, folder: Unknown) -> None:
    total.jobs += folder.jobs
    total.objects += folder.objects
    total.bytes += folder.bytes
    total.uploads += folder.uploads
