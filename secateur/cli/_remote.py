"""A server's jobs at the command line: their events on a board, their ends as errors."""

import os
from pathlib import Path

from core.errors import BadRequest, Cancelled
from core.jobs.states import State
from core.jobs.views import Event, Job
from secateur.cli._board import Board
from secateur.client import Client
from secateur.problems import failure_of


def connect(url: str, key_file: Path | None) -> Client:
    """A client of the server at `url`, with the key in `key_file`, else in SECATEUR_API_KEY.

    There is no option for the key itself: whoever is on the machine can read what commands are given.

    Raises:
        BadRequest: the file cannot be read, or what was found is no key.
    """
    if key_file is None:
        return Client(url, api_key=os.environ.get("SECATEUR_API_KEY") or None)
    try:
        return Client(url, api_key=key_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            f"{key_file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}.",
            remedy="Name a file with the key in it, or set SECATEUR_API_KEY.",
        ) from None


def show(shown: Board, name: str, event: Event) -> None:
    """Put on the board what `event` tells."""
    if event.type == "progress":
        shown.update(name, float(event.data["progress"]), f"{event.data['phase']}: {event.message}")
    elif event.data.get("state") == State.SUCCEEDED:
        shown.update(name, 1.0, event.message)
    else:
        shown.update(name, None, event.message)


def raise_unless_succeeded(job: Job) -> None:
    """Raise the reason why a job that has ended did not succeed."""
    failure = failure_of(job)
    if failure is not None:
        raise failure
    if job.state is State.CANCELLED:
        raise Cancelled(f"job {job.id} was cancelled.")
