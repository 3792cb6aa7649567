"""How the API is run: what uvicorn is told, how it ends, and on which addresses it may listen."""

import gc
import socket
import sys
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from api.guards import is_loopback
from api.waiting import Waiting
from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from core.key_errors import KeysNeeded
from core.settings import Settings

SWITCH_SECONDS: Final = 0.0005


def options(settings: Settings) -> dict[str, Any]:
    """Arguments for uvicorn, host and port excepted."""
    return {
        "log_config": None,
        "access_log": False,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        "server_header": False,
        "timeout_keep_alive": 75,  # longer than any poller pauses
        "timeout_graceful_shutdown": 5,
    }


class Server(uvicorn.Server):
    """uvicorn, which at its end answers whoever waits for news instead of waiting for them."""

    def __init__(self, app: FastAPI, settings: Settings, *, host: str, port: int) -> None:
        super().__init__(uvicorn.Config(app, host=host, port=port, **options(settings)))
        self._waiting: Waiting = app.state.waiting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What has been imported stays for good. Looking through all of it for garbage, again and again,
        # stops the process for longer than most answers take.
        gc.collect()
        gc.freeze()
        # The event loop gives the interpreter up with every read and write of a socket, and gets it back
        # from a thread that computes only after so long: Python's own 5 ms, dozens of times an answer.
        sys.setswitchinterval(SWITCH_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._waiting.watcher.close()
        await super().shutdown(sockets)


def demands_keys(host: str, database_url: str) -> bool:
    """Whether a server on `host` will demand API keys; its database is brought up to date first.

    Raises:
        KeysNeeded: others can reach `host`, and the database has never had a key.
        BadRequest: no database URL.
        StoreUnavailable: the database cannot be reached or written.
    """
    migrate(database_url)
    with KeyStore.open(database_url) as keys:
        demanded = keys.ever_had_any()
    if not (demanded or is_loopback(host)):
        # A file has no password that must not be shown, and is not where the operator's settings point.
        file = f"SECATEUR_DATABASE_URL={database_url} " if database_url.startswith("sqlite") else ""
        raise KeysNeeded(
            f"others could reach the server on {host}, and there is no API key to tell who may.",
            remedy=f"Make one with `{file}secateur keys create --name NAME`, or use --host 127.0.0.1.",
        )
    return demanded
