"""`secateur list`: the jobs of a server."""

from typing import Annotated

import typer

from secateur.cli import _options as o


def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model source.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this metadata.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: o.Url = o.URL,
    json: o.Json = False,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    from core.jobs.states import State
    from secateur.cli._output import show_json
    from secateur.client import Client

    with Client(url) as client:
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("job", "state", "method", "sparsity", "model", "progress", box=None)
    for job in jobs:
        model_source = Text(str(job.spec["model"]["source"]))  # Text: never read as markup
        sparsity, progress = f"{job.spec['sparsity']:g}", f"{job.progress:.0%}"
        table.add_row(job.id, job.state.value, job.spec["method"], sparsity, model_source, progress)
    Console().print(table)


def _known(given: str, known: list[str]) -> str:
    if given not in known:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(known)}.")
    return given


def _pair(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{given!r} is not KEY=VALUE.")
    return key, value
