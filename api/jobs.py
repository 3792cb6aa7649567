"""Jobs over HTTP: submit, list, read. What is done to one is in `api.job_changes`."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.answers import not_modified, tagged
from api.auth import READS, WRITES, caller_of
from api.bodies import PostedObject
from api.dependencies import (
    Bell,
    By,
    Destinations,
    Hooks,
    JobId,
    Jobs,
    MadeBy,
    Now,
    Quotas,
    Sources,
    Tenant,
)
from api.estimates import EXAMPLE, PROBLEMS, Estimates, checked_size, checked_spec, dry_answer
from api.idempotency import IdempotencyKey
from api.problems import documented
from api.ranges import matches
from api.waiting import Wait, WaitingRoom, etag_of, of_job, worth_telling
from core.errors import InvalidSpec, JobNotFound
from core.estimates.views import Estimate
from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs.idempotency import Once, Posted, digest_of
from core.jobs.states import State
from core.jobs.views import Job, JobPage
from core.limit_errors import JobTooLarge, QueueFull, StorageFull
from core.recipes import Method
from core.telemetry import fields
from core.waiting_errors import NoPlaceToWait, TooManyWaiting

_METADATA: Final = "metadata."
_METADATA_KEY: Final = re.compile(r"[\w.-]{1,64}")

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    dependencies=[Depends(caller_of)],
)

Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]


@router.post(
    "",
    dependencies=[WRITES],
    status_code=202,
    summary="Submit a job",
    response_model=Job,
    response_description="Accepted; `Location` is where to watch it.",
    responses={
        **openapi.example(202, openapi.JOB, headers=openapi.ACCEPTED_HEADERS),
        200: {
            "description": "With `dry_run=true`: what the job would take.",
            "model": Estimate,
            **openapi.example(200, EXAMPLE)[200],
        },
        **documented(
            *PROBLEMS,
            IdempotencyKeyReused,
            IdempotencyKeyInFlight,
            QueueFull,
            StorageFull,
            JobTooLarge,
        ),
    },
    openapi_extra=openapi.SPEC_BODY,
)
def submit_job(
    *,
    posted: PostedObject,
    jobs: Jobs,
    tenant: Tenant,
    now: Now,
    origin: MadeBy,
    bell: Bell,
    sources: Sources,
    destinations: Destinations,
    quotas: Quotas,
    by: By,
    hooks: Hooks,
    background: BackgroundTasks,
    response: Response,
    key: IdempotencyKey,
    estimates: Estimates,
    dry_run: Annotated[
        bool, Query(description="answer 200 with what /v1/estimate says, and queue nothing")
    ] = False,
) -> Job | Response:
    """Accepts a `JobSpec` and queues it. Only `model` and `sparsity` are required.

    With an `Idempotency-Key` the request can be sent again, as often as its connection breaks, and
    makes one job: a repetition is answered with that job as it stands by then, and with
    `Idempotent-Replayed: true`.
    """
    # Refused now rather than by a worker later: names no example has, places not allowed.
    spec = checked_spec(posted, sources, destinations, hooks.allowed)
    if dry_run:
        return dry_answer(estimates(spec))
    checked_size(spec, jobs.quota(tenant, quotas), estimates)
    if key is None:
        posted_job = Posted(
            jobs.create(tenant, spec, now, origin, quotas=quotas, by=by), replayed=False
        )
    else:
        once = Once(key, digest_of(posted))
        posted_job = jobs.create_once(tenant, spec, now, once, origin, quotas=quotas, by=by)
    job = posted_job.job
    fields.note(job=job.id)
    if job.state is State.QUEUED:
        background.add_task(bell.ring, job.id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    if posted_job.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return job


@router.get(
    "",
    dependencies=[READS],
    summary="List jobs",
    response_model=JobPage,
    response_description="Newest first. `next` is the `after` of the following page.",
    responses={
        **openapi.example(200, {"data": [openapi.LISTED], "has_more": False, "next": None}),
        **openapi.NOT_MODIFIED,
    },
    openapi_extra=openapi.METADATA_FILTER,
)
def list_jobs(
    *,
    request: Request,
    jobs: Jobs,
    tenant: Tenant,
    state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    method: Annotated[Method | None, Query(description="only jobs with this method")] = None,
    model: Annotated[
        str | None,
        Query(
            max_length=1024, pattern=r"^[^\x00]*$", description="only jobs with this `model.source`"
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        Query(pattern=r"^swp_[0-9a-z]{24}$", description="only jobs of this sweep"),
    ] = None,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=512, description="`next` of a page")] = None,
) -> Response:
    """All filters given must hold. A list shows neither attempts nor logs. `metadata.KEY=VALUE` filters on metadata, any number of times."""
    page = jobs.list(
        tenant,
        state=state,
        method=method,
        model=model,
        metadata=_metadata_filter(request),
        sweep=sweep,
        limit=limit,
        after=after,
    )
    return tagged(request, page)


def _metadata_filter(request: Request) -> dict[str, str] | None:
    found = {
        name.removeprefix(_METADATA): value
        for name, value in request.query_params.items()
        if name.startswith(_METADATA)
    }
    refused = [
        {"field": f"{_METADATA}{key}"[:100], "message": "no job can have this key or value"}
        for key, value in found.items()
        if not _METADATA_KEY.fullmatch(key) or len(value) > 512 or "\0" in value
    ]
    if len(found) > 16:
        refused.append({"field": "metadata", "message": "at most 16 metadata filters"})
    if refused:
        raise InvalidSpec("The request is not valid.", fields=refused)
    return found or None


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
    room: WaitingRoom,
    wait: Wait = 0,
) -> Response:
    """Poll with `If-None-Match`: 304 as long as nothing changed.

    With `wait` the answer comes once something has.
    """

    async def read() -> Job:
        return await run_in_threadpool(jobs.get, tenant, job_id)

    known = request.headers.get("if-none-match")
    if known and not wait:
        # Most polls find nothing new, which one number of the row tells.
        version = await run_in_threadpool(jobs.version, tenant, job_id)
        if matches(known, etag := etag_of(version), weak=True):
            return not_modified(etag)
    job = await read()
    if wait:
        with room.places.one(tenant):
            job = await worth_telling(request, room, read, job, wait, of_job)
    return tagged(request, job, etag_of(job.version))
