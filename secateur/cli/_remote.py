"""A server's jobs at the command line: their events on a board, their ends as errors."""

from core.errors import Cancelled
from core.jobs.states import State
from core.jobs.views import Event, Job
from secateur.cli._board import Board
from secateur.problems import failure_of


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
