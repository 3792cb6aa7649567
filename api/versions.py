"""The versions of jobs, for all who poll: whoever asks while a question is under way is in the next one.

Most polls find nothing new. One at a time they would each take a thread, a connection and a transaction
to learn it; together they take one of each, and the more there are the less each costs.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from core.errors import JobNotFound


class Whose(NamedTuple):
    """A job, and the tenant that asks for it."""

    tenant: str
    job_id: str


Look = Callable[[Collection[tuple[str, str]]], Mapping[tuple[str, str], int]]


class Versions:
    """To be used from one event loop. `look` tells the versions of (tenant, job) pairs, and may block.

    An answer is never older than its question: what is looked up was asked for before the look began.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._asked: dict[Whose, asyncio.Future[int | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, tenant: str, job_id: str) -> int:
        """The job's version. Raises JobNotFound, also for another tenant's, and StoreUnavailable."""
        whose = Whose(tenant, job_id)
        answer = self._asked.get(whose)
        if answer is None:
            answer = self._asked[whose] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # Others may wait for the same answer: who hangs up takes it from nobody.
        found = await asyncio.shield(answer)
        if found is None:
            raise JobNotFound(job_id)
        return found

    async def _ask(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await run_in_threadpool(self._look, asked.keys())
            except Exception as error:  # noqa: BLE001 - each of those who asked raises it
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # all may have hung up, which is no reason for a warning
            else:
                for whose, answer in asked.items():
                    answer.set_result(found.get(whose))
