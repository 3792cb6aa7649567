"""`secateur list`: the jobs of a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.views import Job


def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model source.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this metadata.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    from core.jobs.states import State
    from secateur.cli._output import show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        wanted = client.list(
            state=None if state is None else State(_known(state, [s.value for s in State])),
            method=method,
            model=model,
            metadata=dict(_pair(each) for each in metadata or []),
            page_size=min(limit, 200),
        )
        jobs = list(islice(wanted, limit))
    if json:
        show_json({"data": [job.model_dump(mode="json") for job in jobs]})
        return
    _show(jobs)


def _show(jobs: "list[Job]") -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    # An id is copied from here: it is never cut.
    table.add_column("job", no_wrap=True, min_width=28)
    for name in ("state", "method", "sparsity", "progress", "model"):
        table.add_column(name, no_wrap=True)
    for job in jobs:
        spec, progress = job.spec, f"{job.progress:.0%}"
        source = Text(str(spec["model"]["source"]))  # Text: never read as markup
        table.add_row(
            job.id, job.state.value, spec["method"], f"{spec['sparsity']:g}", progress, source
        )
    Console(width=None if sys.stdout.isatty() else 2000).print(table)


def _known(given: str, known: list[str]) -> str:
    if given not in known:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(known)}.")
    return given


def _pair(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{given!r} is not KEY=VALUE.")
    return key, value
