"""`secateur worker`: one worker process for one device."""

import typer


def worker() -> None:
    """Run one worker; database, broker and store come from SECATEUR_*."""
    import logging

    from secateur.cli._settings import load_settings
    from workers.app import main

    settings = load_settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    raise typer.Exit(main(settings))
