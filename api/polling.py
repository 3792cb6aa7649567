"""One job, read again and again: nearly all that a server is asked, and mostly in vain."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from api import openapi
from api.answers import not_modified, tagged
from api.auth import READS, Needs, calling
from api.dependencies import JobId, Jobs, Readers, Tenant, check_job_id
from api.problems import documented
from api.ranges import matches
from api.waiting import Wait, Waiting, WaitingRoom, etag_of, of_job, worth_telling
from core.errors import JobNotFound
from core.jobs.views import Job
from core.telemetry import fields
from core.waiting_errors import NoPlaceToWait, TooManyWaiting

_READER: Final = Needs("jobs:read")


class PolledRoute(APIRoute):
    """A route for `{job_id}` that says "nothing new" before anything is made ready for saying more."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await _nothing_new(request) or await answer(request)

        return handler


async def _nothing_new(request: Request) -> Response | None:
    """304 to a poll whose client has the job as it is; None to any other question.

    Who may ask is looked at as for the whole answer, which finds it looked at.
    """
    known = request.headers.get("if-none-match")
    if not known or request.url.query:
        return None
    await _READER(request, None)
    job_id = request.path_params["job_id"]
    check_job_id(job_id)
    fields.note(job=job_id)
    waiting = cast("Waiting", request.app.state.waiting)
    # Which one number of the job's row tells.
    version = await waiting.versions.of((await calling(request)).tenant, job_id)
    etag = etag_of(version)
    return not_modified(etag) if matches(known, etag, weak=True) else None


router = APIRouter(
    prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(calling)], route_class=PolledRoute
)


@router.get(
    "/{job_id}",
    dependencies=[READS],
    summary="Read a job",
    response_model=Job,
    responses={
        **openapi.example(200, openapi.JOB),
        **openapi.NOT_MODIFIED,
        **documented(JobNotFound, TooManyWaiting, NoPlaceToWait),
    },
)
async def read_job(
    *,
    request: Request,
    job_id: JobId,
    jobs: Jobs,
    tenant: Tenant,
    readers: Readers,
    room: WaitingRoom,
    wait: Wait = 0,
) -> Response:
    """Poll with `If-None-Match`: 304 as long as nothing changed.

    With `wait` the answer comes once something has.
    """

    async def read() -> Job:
        return await readers.run(lambda: jobs.get(tenant, job_id))

    job = await read()
    if wait:
        with room.places.one(tenant):
            job = await worth_telling(request, room, read, job, wait, of_job)
    return tagged(request, job, etag_of(job.version))
