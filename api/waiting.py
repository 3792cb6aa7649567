"""Long polls: a job, or a sweep, is answered when there is something new to say about it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple, TypeVar, cast

from fastapi import Depends, Query, Request

from api.answers import tag_of
from api.places import Places
from api.ranges import matches
from api.versions import Versions
from api.watcher import Watcher
from core.jobs.states import TERMINAL
from core.jobs.sweep_keeping import signature_of
from core.jobs.sweep_views import Sweep
from core.jobs.views import Job

LONGEST: Final = 60.0
"""Seconds. Proxies give up connections that are silent for longer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What those who wait in this process share."""

    watcher: Watcher
    versions: Versions
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


class Telling(NamedTuple):
    """What there is to wait for in an answer."""

    id: str
    version: int
    """As the watcher looks it up."""
    etag: str
    over: bool
    """Whether nothing more happens by itself."""


def of_job(job: Job) -> Telling:
    return Telling(job.id, job.version, etag_of(job.version), job.state in TERMINAL)


def of_sweep(sweep: Sweep) -> Telling:
    etag = tag_of(sweep.model_dump_json().encode())
    return Telling(sweep.id, signature_of(sweep.cells or ()), etag, sweep.state != "running")


def sweeps_watched(
    jobs: Callable[[Collection[str]], Mapping[str, int]],
    sweeps: Callable[[Collection[str]], Mapping[str, int]],
) -> Callable[[Collection[str]], Mapping[str, int]]:
    """One question about jobs and sweeps, for a watcher; each half is only asked if it is meant."""

    def look(ids: Collection[str]) -> Mapping[str, int]:
        of_sweeps = {each for each in ids if each.startswith("swp_")}
        found = dict(sweeps(of_sweeps)) if of_sweeps else {}
        of_jobs = set(ids) - of_sweeps
        return found | dict(jobs(of_jobs)) if of_jobs else found

    return look


async def worth_telling(
    request: Request,
    room: Waiting,
    read: Callable[[], Awaitable[T]],
    found: T,
    seconds: float,
    telling: Callable[[T], Telling],
) -> T:
    """What was just `found`, as soon as its client wants it, or as it is after `seconds`.

    A client that hangs up is noticed, and what is returned then is sent to nobody.

    Raises:
        JobNotFound, SweepNotFound: it was deleted meanwhile. StoreUnavailable.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not _is_news(request, told := telling(found)) and (left := deadline - clock()) > 0:
        if not await unless_gone(request, room.watcher.moved(told.id, told.version, left)):
            return found
        found = await read()
    return found


def _is_news(request: Request, told: Telling) -> bool:
    known = request.headers.get("if-none-match")
    if known is None:
        return told.over
    return not matches(known, told.etag, weak=True)


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
