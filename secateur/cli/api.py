"""`secateur api`: the HTTP server alone."""

from typing import Annotated

import typer

from secateur.cli import _options as o


def api(
    host: o.Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8000,
) -> None:
    """Run the API alone; database, broker and store come from SECATEUR_*."""
    import sys

    from api.app import create_app
    from api.guards import is_loopback
    from api.serving import Server, demands_keys
    from core.telemetry import logs
    from secateur.cli._settings import load_settings

    settings = load_settings()
    logs.configure(settings.log_format, settings.log_level, "api")
    app = create_app(settings, loopback=is_loopback(host))
    assert settings.database_url  # create_app has looked
    demands_keys(host, settings.database_url)
    server = Server(app, settings, host=host, port=port)
    server.run()
    if not server.started:
        sys.exit(3)
