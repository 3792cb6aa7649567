"""`secateur api`: the HTTP server alone."""

from typing import Annotated

import typer


def api(
    host: Annotated[str, typer.Option("--host", help="Loopback only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8000,
) -> None:
    """Run the API alone; database, broker and store come from SECATEUR_*."""
    import logging

    import uvicorn

    from api.app import create_app
    from api.guards import is_loopback
    from core.errors import NotAvailable
    from secateur.cli._settings import load_settings

    if not is_loopback(host):
        raise NotAvailable(
            f"serving on {host}, since there are no keys to tell clients apart",
            remedy="Use --host 127.0.0.1, and reach it from elsewhere through ssh -L.",
        )
    settings = load_settings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than any poller pauses
        timeout_graceful_shutdown=5,
    )
