"""Who reads jobs or makes them takes turns, and waits for them in the event loop."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool

from core.errors import StoreUnavailable

PATIENCE: Final = 30.0
"""Seconds that anybody waits for a turn: as long as a SQLite writer waits for another."""

T = TypeVar("T")


class Turns:
    """At most `at_once` pieces of work of one kind, in the order in which they came.

    Where the database lets in one writer at a time, others would keep threads and connections from those
    who read, and be let in by chance. And all that compute share one interpreter: the more of them there
    are, the later each is done, and the longer the event loop waits for its turn among them.
    """

    def __init__(self, at_once: int, doing: str, patience: float = PATIENCE) -> None:
        """`doing` ends "others have been …" for who waits too long."""
        self._turns, self._doing, self._patience = CapacityLimiter(at_once), doing, patience

    async def run(self, work: Callable[[], T]) -> T:
        """What `work`, which may block, returns. Raises StoreUnavailable where no turn came: nothing is
        done then."""
        turn = object()
        try:
            with anyio.fail_after(self._patience):
                await self._turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            raise StoreUnavailable(
                f"others have been {self._doing} the job database for {self._patience:g} s.",
                remedy="Send the request again; where it makes something, with the same Idempotency-Key.",
            ) from None
        try:
            return await run_in_threadpool(work)
        finally:
            self._turns.release_on_behalf_of(turn)
