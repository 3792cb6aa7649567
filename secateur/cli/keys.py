"""`secateur keys`: the operator's side of API keys. Talks to the database, not to a server."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.credentials import ApiKey
    from core.jobs.keys import KeyStore

app = typer.Typer(
    help="Make, list and revoke API keys, in the database at SECATEUR_DATABASE_URL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class ScopeName(StrEnum):
    """What a key may be for; `admin` holds the others."""

    READ = "jobs:read"
    WRITE = "jobs:write"
    ADMIN = "admin"


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What it is for: a person, a program.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose jobs it opens.")] = "default",
    scope: Annotated[
        list[ScopeName] | None,
        typer.Option("--scope", help="Several are possible [default: jobs:read and jobs:write]"),
    ] = None,
    expires_days: Annotated[
        int | None,
        typer.Option(
            "--expires-days", min=1, max=36500, help="Days it is good for [default: for ever]"
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Make a key, and print it this once. From the first on, no server serves anybody without."""
    import secrets
    from datetime import UTC, timedelta

    from core.jobs.audit import COMMAND_LINE
    from core.jobs.credentials import SCOPES
    from secateur.cli._output import note, result, show_json

    now = datetime.now(UTC)
    wanted = {each.value for each in scope or (ScopeName.READ, ScopeName.WRITE)}
    with _keys() as keys:
        new = keys.create(
            tenant,
            name,
            [each for each in SCOPES if each in wanted],
            now,
            secrets.token_bytes,
            expires_at=None if expires_days is None else now + timedelta(days=expires_days),
            by=COMMAND_LINE,
        )
    if json:
        show_json({**new.key.model_dump(mode="json"), "key": new.text})
        return
    note(f"{new.key.id} for tenant {tenant}, {_until(new.key)}. It is shown only now:")
    result(new.text)


@app.command("list")
def list_keys(json: o.Json = False) -> None:
    """List the keys there are and were, newest first. Nothing shown here opens anything."""
    import sys
    from datetime import UTC

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from secateur.cli._output import show_json

    with _keys() as keys:
        found = keys.list()
    if json:
        show_json({"data": [key.model_dump(mode="json") for key in found]})
        return
    table = Table(box=None)
    for column in ("id", "tenant", "name", "begins", "scopes", "made", "used", "state"):
        table.add_column(column, no_wrap=True)
    now = datetime.now(UTC)
    for key in found:
        scopes, used = " ".join(key.scopes), _day(key.last_used_at)
        cells = (key.id, key.tenant, key.name, key.prefix, scopes, _day(key.created_at), used)
        table.add_row(*(Text(cell) for cell in cells), _state(key, now))
    Console(width=None if sys.stdout.isatty() else 2000).print(table)


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `secateur keys list` shows it.")],
    json: o.Json = False,
) -> None:
    """End a key for good. Servers that have just seen it stop within seconds."""
    from datetime import UTC

    from core.jobs.audit import COMMAND_LINE
    from secateur.cli._output import result, show_json

    with _keys() as keys:
        revoked = keys.revoke(key, datetime.now(UTC), by=COMMAND_LINE)
    if json:
        show_json(revoked)
    else:
        result(f"{revoked.id} {_state(revoked, datetime.now(UTC))}")


def _keys() -> "KeyStore":
    from core.jobs.keys import KeyStore
    from secateur.cli._settings import load_settings, required

    return KeyStore.open(required("SECATEUR_DATABASE_URL", load_settings().database_url))


def _until(key: "ApiKey") -> str:
    return "for ever" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M} UTC"


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"


def _state(key: "ApiKey", now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is not None and key.expires_at <= now:
        return f"expired {_day(key.expires_at)}"
    return _until(key)
