"""Long polls: a job is answered when there is something new to say about it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar, cast

from fastapi import Depends, Query, Request

from api.places import Places
from api.ranges import matches
from api.watcher import Watcher
from core.jobs.states import TERMINAL
from core.jobs.views import Job

LONGEST: Final = 60.0
"""Seconds. Proxies give up connections that are silent for longer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What those who wait in this process share."""

    watcher: Watcher
    places: Places


async def _waiting(request: Request) -> Waiting:
    return cast("Waiting", request.app.state.waiting)


WaitingRoom = Annotated[Waiting, Depends(_waiting)]
Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST,
        description="seconds to wait for another version than `If-None-Match` names; without that"
        " header, for the job's end. After them the answer is what it is",
    ),
]


def etag_of(version: int) -> str:
    return f'"{version}"'


async def worth_telling(
    request: Request, room: Waiting, read: Callable[[], Awaitable[Job]], job: Job, seconds: float
) -> Job:
    """`job`, just read, as soon as its client wants it, or as it is after `seconds`.

    A client that hangs up is noticed, and what is returned then is sent to nobody.

    Raises:
        JobNotFound: it was deleted meanwhile. StoreUnavailable.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not _is_news(request, job) and (left := deadline - clock()) > 0:
        if not await unless_gone(request, room.watcher.moved(job.id, job.version, left)):
            return job
        job = await read()
    return job


def _is_news(request: Request, job: Job) -> bool:
    known = request.headers.get("if-none-match")
    if known is None:
        return job.state in TERMINAL
    return not matches(known, etag_of(job.version), weak=True)


async def unless_gone(request: Request, coming: Awaitable[T]) -> T | None:
    """What comes, or None where the client has hung up before it came."""
    gone, task = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(coming)
    try:
        await asyncio.wait({gone, task}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
