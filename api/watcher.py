"""Waiting for jobs to change: one question for all who wait in this process, a few times a second.

Who waits holds neither a thread nor a connection, only a future. What is compared is the version of
the row, so a change that came before the first look is seen by it, and none is ever missed.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool

from core.errors import StoreUnavailable

logger = logging.getLogger(__name__)

PAUSE: Final = 0.3
"""Seconds from one question to the next; how late a change may be told."""

Look = Callable[[Collection[str]], Mapping[str, int]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    job_id: str
    version: int
    moved: asyncio.Future[None]


class Watcher:
    """To be used from one event loop. `look` tells the versions of jobs, and may block.

    While the database does not answer nobody is told anything; who waits has a limit of their own.
    """

    def __init__(self, look: Look, *, pause: float = PAUSE) -> None:
        self._look, self._pause = look, pause
        self._waiters: set[_Waiter] = set()
        self._asking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        return len(self._waiters)

    @property
    def closed(self) -> bool:
        """Whether this process is about to end, so that nobody should wait any longer."""
        return self._closed

    async def moved(self, job_id: str, version: int, seconds: float) -> bool:
        """Wait until the job's version is not `version`, or the job is gone; False after `seconds`.

        False at once where the process is about to end.
        """
        if self._closed:
            return False
        waiter = _Waiter(job_id, version, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(seconds):
                await waiter.moved
        except TimeoutError:
            return False
        else:
            return not self._closed
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """Send everybody away. From the event loop's own thread."""
        self._closed = True
        self._tell(self._waiters)

    async def _ask(self) -> None:
        """Go on asking for as long as anybody waits."""
        while self._waiters:
            await asyncio.sleep(self._pause)
            ids = {waiter.job_id for waiter in self._waiters}
            if not ids:
                return
            try:
                found = await run_in_threadpool(self._look, ids)
            except StoreUnavailable as error:
                logger.warning("who waits has to wait longer: %s", error)
                continue
            # Who came meanwhile about another job is left for the next question.
            self._tell(
                each
                for each in self._waiters
                if each.job_id in ids and found.get(each.job_id) != each.version
            )

    @staticmethod
    def _tell(waiters: Iterable[_Waiter]) -> None:
        for waiter in waiters:
            # One whose time has run out at this moment is done already.
            if not waiter.moved.done():
                waiter.moved.set_result(None)
