"""`secateur serve`: everything on this machine, in one command."""

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import _options as o


def serve(
    data: Annotated[
        Path, typer.Option("--data", help="Folder for the database and the results.")
    ] = Path("secateur-data"),
    host: o.Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8000,
) -> None:
    """Start API, worker and broker here, and stop them all on Ctrl-C."""
    from secateur.cli._settings import load_settings
    from secateur.embedded import run

    raise typer.Exit(run(data, host, port, load_settings()))
