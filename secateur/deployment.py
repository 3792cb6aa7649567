"""What has to be there before a deployment serves: tables, a store, a first key."""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from core.errors import BadRequest, OutputExists, StoreUnavailable
from core.jobs.audit import COMMAND_LINE
from core.jobs.keys import KeyStore, NewKey
from core.jobs.migrate import migrate
from core.store.urls import open_store

TENANT: Final = "default"
_PAUSE: Final = 0.5


def prepare(database_url: str, store_url: str, patience: float, say: Callable[[str], None]) -> None:
    """Bring database and object store into being, both within `patience` seconds.

    Safe to run at once in several processes.

    Raises:
        BadRequest: one of the URLs cannot be used.
        StoreUnavailable: one of them does not answer, or does not allow it.
    """
    store = open_store(store_url)

    def make_and_try() -> None:
        store.prepare()
        store.check()

    deadline = time.monotonic() + patience
    _persist(lambda: migrate(database_url), deadline, say)
    _persist(make_and_try, deadline, say)


def first_key(database_url: str, file: Path | None) -> NewKey | None:
    """A key for everything in tenant default, or None where there is or was any.

    With `file`, a new file that only its owner can read holds it before it counts.

    Raises:
        OutputExists: `file` is there already, and a key would have to go into it.
        BadRequest: `file` cannot be written.
    """
    with KeyStore.open(database_url) as keys, ExitStack() as undo:

        def deliver(text: str) -> None:
            if file is not None:
                _write_private(file, text, undo)

        now = datetime.now(UTC)
        new = keys.create_first(
            TENANT, "first", now, secrets.token_bytes, deliver=deliver, by=COMMAND_LINE
        )
        undo.pop_all()
    return new


def _persist(act: Callable[[], None], deadline: float, say: Callable[[str], None]) -> None:
    """Do `act`, again and again while what it needs is not up yet."""
    said = ""
    while True:
        try:
            return act()
        except StoreUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if error.message != said:
                said = error.message
                say(f"waiting: {said}")
            time.sleep(_PAUSE)


def _write_private(file: Path, text: str, undo: ExitStack) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        undo.callback(file.unlink)
        with os.fdopen(handle, "w") as writer:
            writer.write(f"{text}\n")
            writer.flush()
            os.fsync(writer.fileno())
    except FileExistsError:
        raise OutputExists(
            f"{file} exists, and may hold another key.", remedy="Remove it, or name another file."
        ) from None
    except OSError as error:
        raise BadRequest(
            f"{file} cannot hold the first key: {error.strerror}.", remedy="Name another file."
        ) from None
