"""The job's life as a table. Every move of every job goes through `check_move`."""

from enum import StrEnum

from core.errors import WrongState


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset(
        {
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.CANCELLING,
            State.QUEUED,  # the lease expired and attempts are left
        }
    ),
    # A run that finished before it heard of the cancellation still ends as cancelled.
    State.CANCELLING: frozenset({State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    # Only a client's wish leads on from here.
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
"""The states in which nothing happens by itself."""

RETRYABLE = frozenset({State.FAILED, State.CANCELLED})


def check_move(job_id: str, now: State, then: State) -> None:
    """Raise WrongState unless the table allows `now` → `then`."""
    if then not in NEXT[now]:
        raise WrongState(
            f"job {job_id} is {now} and cannot become {then}.",
            remedy="Read the job again for its present state.",
        )


def sources_of(then: State) -> frozenset[State]:
    """The states that may become `then`: the WHERE clause of a move made in one statement."""
    return frozenset(state for state, following in NEXT.items() if then in following)


OWNED = frozenset({State.RUNNING, State.CANCELLING})
"""The states in which a worker holds the job under a lease."""
