"""`secateur gc`: remove what has outlived its use in the object store."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.cleanup import Cleaned, Tally


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown",
            help="Also what jobs left that the database does not know, once a day old. Not where "
            "another database uses the same store.",
        ),
    ] = False,
    json: o.Json = False,
) -> None:
    """Remove expired results, what losing runs left, and unfinished uploads. Live jobs are safe.

    Database, store and retention come from SECATEUR_*.
    """
    from core.cleanup import clean
    from core.jobs.store import JobStore
    from core.store.urls import open_store
    from secateur.cli._output import show_json
    from secateur.cli._settings import load_settings, required

    settings = load_settings()
    database = required("SECATEUR_DATABASE_URL", settings.database_url)
    store = open_store(required("SECATEUR_STORE_URL", settings.store_url))
    with JobStore.open(database) as jobs:
        done = clean(
            jobs,
            store,
            settings.retention,
            _now(),
            unknown=unknown,
            dry_run=dry_run,
        )
    if json:
        show_json(done)
    else:
        _show(done)


def _now() -> datetime:
    return datetime.now(UTC)


def _show(done: "Cleaned") -> None:
    from secateur.cli._output import result

    removed = "would be removed" if done.dry_run else "removed"
    result(f"results expired   {done.expired_jobs}")
    result(f"{removed:17} {_amount(done.removed)}")
    if done.unknown_removed.jobs:
        what = f"{_amount(done.unknown_removed)} of {done.unknown_removed.jobs} unknown jobs"
        result(f"{removed:17} {what}")
    if done.unknown_left.jobs:
        left = f"{_amount(done.unknown_left)} of {done.unknown_left.jobs} jobs"
        result(
            f"{'left':17} {left} this database does not know; --unknown removes what is a day old"
        )


def _amount(tally: "Tally") -> str:
    from secateur.cli._output import size

    uploads = f", {tally.uploads} unfinished uploads" if tally.uploads else ""
    return f"{tally.objects} objects, {size(tally.bytes)}{uploads}"
