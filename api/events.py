"""A job's numbered history: page by page, or as it happens."""

from contextlib import ExitStack
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.answers import tagged
from api.auth import READS, caller_again, calling
from api.dependencies import JobId, Jobs, Tenant
from api.negotiation import preferred
from api.problems import documented
from api.streams import MEDIA_TYPE, EventStream, Source, frames
from api.waiting import WaitingRoom
from core.errors import JobNotFound
from core.jobs.states import TERMINAL
from core.jobs.views import EventPage
from core.jobs.watching import News
from core.waiting_errors import NoPlaceToWait, TooManyWaiting

_KINDS: Final = ("application/json", MEDIA_TYPE)
_NUMBER: Final = {"ge": 0, "lt": 2**63}

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    dependencies=[Depends(calling)],
)


@router.get(
    "/{job_id}/events",
    dependencies=[READS],
    summary="Read a job's events, or follow them",
    response_model=EventPage,
    response_description="Oldest first, numbered without gaps.",
    responses={
        **openapi.EVENTS,
        **openapi.NOT_MODIFIED,
        **documented(JobNotFound, TooManyWaiting, NoPlaceToWait),
    },
)
async def list_events(
    *,
    request: Request,
    job_id: JobId,
    jobs: Jobs,
    tenant: Tenant,
    room: WaitingRoom,
    after: Annotated[int, Query(description="id of the last event read", **_NUMBER)] = 0,
    limit: Annotated[int, Query(ge=1, le=200, description="how many at most in one page")] = 100,
    last_event_id: Annotated[
        int | None, Header(description="of a stream: replaces `after`", **_NUMBER)
    ] = None,
) -> Response:
    """Ask again with `after` set to the last id read: only what came since is returned.

    With `Accept: text/event-stream` the events come as they happen, with comments in between, until
    the job has ended: the event `end`, without an id, says so, and the client should close. A
    stream that ends without it was cut off; `Last-Event-ID` takes it up again.
    """
    if preferred(request.headers.get("accept"), _KINDS) != MEDIA_TYPE:
        page = await run_in_threadpool(jobs.events, tenant, job_id, after=after, limit=limit)
        return tagged(request, page)

    def news(seen: int) -> News:
        # Who could ask once may have lost the right since.
        return jobs.news(caller_again(request).tenant, job_id, after=seen, limit=limit)

    seen = after if last_event_id is None else last_event_id
    first = await run_in_threadpool(jobs.news, tenant, job_id, after=seen, limit=limit)
    if last_event_id is not None and first.state in TERMINAL and not first.page.data:
        return Response(status_code=204)  # EventSource comes back until it is told this
    with ExitStack() as place:
        place.enter_context(room.places.one(tenant))
        source = Source(job_id, news, room.watcher)
        return EventStream(frames(source, seen, first), place.pop_all())
