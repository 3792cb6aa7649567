"""Jobs over HTTP: submit and list. One of them is read in `api.polling`, and changed in `api.job_changes`."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.answers import tagged
from api.auth import READS, WRITES, calling
from api.bodies import PostedObject
from api.dependencies import (
    Bell,
    By,
    Destinations,
    Hooks,
    Jobs,
    MadeBy,
    Now,
    Quotas,
    Readers,
    Sources,
    Tenant,
    Writers,
)
from api.doorbell import Doorbell
from api.estimates import EXAMPLE, PROBLEMS, Estimates, checked_size, checked_spec, dry_answer
from api.idempotency import IdempotencyKey
from api.problems import documented
from core.errors import InvalidSpec
from core.estimates.views import Estimate
from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs.idempotency import Once, Posted, digest_of
from core.jobs.states import State
from core.jobs.views import Job, JobPage
from core.limit_errors import JobTooLarge, QueueFull, StorageFull
from core.recipes import Method
from core.spec import JobSpec
from core.telemetry import fields

_METADATA: Final = "metadata."
_METADATA_KEY: Final = re.compile(r"[\w.-]{1,64}")

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    dependencies=[Depends(calling)],
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
async def submit_job(
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
    key: IdempotencyKey,
    estimates: Estimates,
    writers: Writers,
    dry_run: Annotated[
        bool, Query(description="answer 200 with what /v1/estimate says, and queue nothing")
    ] = False,
) -> Response:
    """Accepts a `JobSpec` and queues it. Only `model` and `sparsity` are required.

    With an `Idempotency-Key` the request can be sent again, as often as its connection breaks, and
    makes one job: a repetition is answered with that job as it stands by then, and with
    `Idempotent-Replayed: true`.
    """

    def checked() -> JobSpec:
        # Refused now rather than by a worker later: names no example has, places not allowed.
        spec = checked_spec(posted, sources, destinations, hooks.allowed)
        if not dry_run:
            checked_size(spec, jobs.quota(tenant, quotas), estimates)
        return spec

    def accepted() -> Posted:
        if key is None:
            job = jobs.create(tenant, spec, now, origin, quotas=quotas, by=by)
            return Posted(job, replayed=False)
        once = Once(key, digest_of(posted))
        return jobs.create_once(tenant, spec, now, once, origin, quotas=quotas, by=by)

    spec = await run_in_threadpool(checked)
    if dry_run:
        return dry_answer(await run_in_threadpool(estimates, spec))
    made = await writers.run(accepted)
    fields.note(job=made.job.id)
    return _accepted_answer(made, bell)


def _accepted_answer(made: Posted, bell: Doorbell) -> Response:
    headers = {"Location": f"/v1/jobs/{made.job.id}", "Retry-After": "1"}
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(
        made.job.model_dump_json(),
        202,
        headers,
        media_type="application/json",
        background=BackgroundTask(bell.ring, made.job.id)
        if made.job.state is State.QUEUED
        else None,
    )


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
async def list_jobs(
    *,
    request: Request,
    jobs: Jobs,
    readers: Readers,
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
    metadata = _metadata_filter(request)

    def listed() -> Response:
        page = jobs.list(
            tenant,
            state=state,
            method=method,
            model=model,
            metadata=metadata,
            sweep=sweep,
            limit=limit,
            after=after,
        )
        return tagged(request, page)

    return await readers.run(listed)


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
