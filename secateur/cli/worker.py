"""`secateur worker`: one worker process for one device."""

import typer


def worker() -> None:
    """Run one worker; database, broker and store come from SECATEUR_*."""
    from secateur.cli._settings import load_settings
    from workers.app import main

    raise typer.Exit(main(load_settings()))
