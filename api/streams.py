"""A job's events as they happen: server-sent events, as browsers and curl understand them.

    retry: 2000

    event: progress
    data: {"id": 4, "type": "progress", …}
    id: 4

    event: end
    data: {"state": "succeeded"}

After `end` nothing more comes, and the client should close. One that comes back all the same, as
EventSource does by itself, gets 204, which tells it to stay away. A stream that ends without `end`
was cut off: whoever comes back with Last-Event-ID misses nothing.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.watcher import Watcher
from core.errors import AccessDenied, JobNotFound, StoreUnavailable
from core.jobs.states import TERMINAL
from core.jobs.views import Event
from core.jobs.watching import News

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "text/event-stream"
PING_SECONDS: Final = 15.0
"""Between two signs of life, which keep proxies from closing; and between two looks at the key."""
LIFETIME_SECONDS: Final = 900.0
"""After which a stream ends and its client comes back, perhaps to a process with less to do."""
_GRACE_SECONDS: Final = 60.0  # for a client that takes nothing, so that no end reaches it
_RETRY_MILLISECONDS: Final = 2000
_AWAY_SECONDS: Final = 2.0  # between two questions to a database that does not answer

HEADERS: Final = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has a buffer full
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the events of one job come from, for one client."""

    job_id: str
    news: Callable[[int], News]
    """What there is after an event, for a client that may still ask; may block.

    Raises AccessDenied, JobNotFound, StoreUnavailable.
    """
    watcher: Watcher


class EventStream(EventSourceResponse):
    """A stream that gives its place back however it ends, a client that takes nothing included."""

    def __init__(self, frames: AsyncIterator[bytes], place: ExitStack) -> None:
        super().__init__(frames, headers=HEADERS)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place, suppress(TimeoutError):
            async with asyncio.timeout(LIFETIME_SECONDS + _GRACE_SECONDS):
                await super().__call__(scope, receive, send)


async def frames(source: Source, after: int, news: News) -> AsyncIterator[bytes]:
    """The stream from `news` on, read already with `after`, to the job's end or our own."""
    clock = asyncio.get_running_loop().time
    ends = clock() + LIFETIME_SECONDS
    found: News | None = news
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    try:
        while not source.watcher.closed and clock() < ends:
            if found is None:
                await asyncio.sleep(_AWAY_SECONDS)
            else:
                for event in found.page.data:
                    yield _frame(event)
                    after = event.id
                if not found.page.has_more:
                    if found.state in TERMINAL:
                        yield _end(found.state.value)
                        return
                    await source.watcher.moved(source.job_id, found.version, PING_SECONDS)
            found = await _asked(source, after)
            if found is None or not found.page.data:
                yield KEEPALIVE_COMMENT
    except JobNotFound:
        yield _end("deleted")
    except AccessDenied:
        return  # the key was revoked, or its time is over; coming back will tell


async def _asked(source: Source, after: int) -> News | None:
    """What there is after an event; None while the database does not answer."""
    try:
        return await run_in_threadpool(source.news, after)
    except StoreUnavailable as error:
        logger.warning("%s: its stream has to wait: %s", source.job_id, error)
        return None


def _frame(event: Event) -> bytes:
    return format_sse_event(data_str=event.model_dump_json(), event=event.type, id=str(event.id))


def _end(state: str) -> bytes:
    return format_sse_event(data_str=json.dumps({"state": state}), event="end")
