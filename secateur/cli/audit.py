"""`secateur audit`: who did what, from the database and not from a server."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.audit_views import AuditPage

Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="A moment in UTC."),
]


def audit(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose keys did it.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Such as job.submit.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The id of the key that did it.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The job, key or tenant it was done to.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="done, or the code of a refusal.")
    ] = None,
    since: Day = None,
    until: Day = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100000, help="Lines at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", help="`next` of a page.")] = None,
    json: o.Json = False,
) -> None:
    """Show who did what, newest first, from the database at SECATEUR_DATABASE_URL."""
    from core.jobs.audit import AuditFilter
    from core.jobs.store import JobStore
    from secateur.cli._output import show_json
    from secateur.cli._settings import load_settings, required

    wanted = AuditFilter(
        tenant=tenant,
        action=action,
        key_id=key,
        target=target,
        outcome=outcome,
        since=_in_utc(since),
        until=_in_utc(until),
    )
    url = required("SECATEUR_DATABASE_URL", load_settings().database_url)
    with JobStore.open(url) as jobs:
        page = jobs.audit(wanted, limit=limit, after=after)
    if json:
        show_json(page)
    else:
        _show(page)


def _in_utc(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return moment and moment.replace(tzinfo=UTC)


def _show(page: "AuditPage") -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from secateur.cli._output import note

    table = Table(box=None)
    for column in ("at (UTC)", "tenant", "key", "action", "target", "outcome", "from"):
        table.add_column(column, no_wrap=True)
    for e in page.data:
        cells = (e.tenant, e.key_id, e.action, e.target, e.outcome, e.address)
        table.add_row(f"{e.at:%Y-%m-%d %H:%M:%S}", *(Text(cell or "-") for cell in cells))
    Console(width=None if sys.stdout.isatty() else 2000).print(table)
    if page.next:
        note(f"more: --after {page.next}")
