"""`secateur webhooks`: the secret that receivers check with, what was delivered, a test message."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.delivery_views import Delivery, ShownSecret
    from secateur.client import Client

_PATIENCE_SECONDS: Final = 60.0  # four times what a receiver is given by default
_PAUSE_SECONDS: Final = 0.5

app = typer.Typer(
    help="Show and rotate the secret of webhooks, look at deliveries, send a test.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("secret")
def secret(url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False) -> None:
    """Print the secret that messages are signed with; the first time, make it."""
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        _print_secret(client.webhook_secret(), json=json)


@app.command("rotate")
def rotate(url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False) -> None:
    """Make a new secret and print it. The one before signs beside it for another 24 hours."""
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        _print_secret(client.rotate_webhook_secret(), json=json)


@app.command("deliveries")
def deliveries(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """List what a job's receiver was told, and how often that was tried."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from secateur.cli._output import show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = list(client.deliveries(job))
    if json:
        show_json({"data": [each.model_dump(mode="json") for each in found]})
        return
    table = Table(box=None)
    for column in ("id", "event", "state", "tries", "last answer", "next try"):
        table.add_column(column, no_wrap=True)
    for each in found:
        next_try = f"{each.next_at:%Y-%m-%d %H:%M} UTC" if each.next_at else ""
        answer = each.last_error or str(each.last_status or "")
        cells = (each.id, each.event, each.state.value, str(each.attempts), answer, next_try)
        table.add_row(*(Text(cell) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 2000).print(table)


@app.command("redeliver")
def redeliver(
    job: o.JobId,
    delivery: Annotated[str, typer.Argument(metavar="ID", help="As `deliveries` shows it.")],
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Have a message sent once more, under the same id."""
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = client.redeliver(job, delivery)
    if json:
        show_json(found)
    else:
        result(f"{found.id} {found.state.value}")


@app.command("test")
def send_test(
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="The URL to send it to.")],
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Have a worker send one signed message, and wait for what becomes of it: 1 unless it is taken."""
    from core.jobs.delivery_views import DeliveryState
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = _outcome(client, client.test_webhook(receiver))
    if json:
        show_json(found)
    else:
        result(f"{found.id} {found.state.value}: {found.last_error or found.last_status}")
    if found.state is not DeliveryState.DELIVERED:
        raise typer.Exit(1)


def _outcome(client: "Client", sent: "Delivery") -> "Delivery":
    from core.jobs.delivery_views import DeliveryState
    from secateur.problems import WaitedTooLong

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = client.delivery(sent.id)
        if found.state is not DeliveryState.PENDING:
            return found
        if time.monotonic() > deadline:
            raise WaitedTooLong(
                f"{sent.id} was not sent within {_PATIENCE_SECONDS:g} seconds.",
                remedy="Workers send webhooks: see that one runs.",
            )
        time.sleep(_PAUSE_SECONDS)


def _print_secret(shown: "ShownSecret", *, json: bool) -> None:
    from secateur.cli._output import note, result, show_json

    if json:
        show_json(shown)
        return
    for each in shown.previous:
        note(f"{each.fingerprint}… signs as well until {each.valid_until:%Y-%m-%d %H:%M} UTC.")
    result(shown.secret)
