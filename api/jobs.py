"""Jobs over HTTP: submit, list, read, cancel, and their events."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query, Request, Response

from api import openapi
from api.answers import tagged
from api.auth import READS, REFUSALS, WRITES, caller_of
from api.bodies import PostedObject
from api.dependencies import (
    Bell,
    Destinations,
    JobId,
    Jobs,
    Now,
    Sources,
    Tenant,
    known_query_only,
)
from api.problems import (
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    UnsupportedMediaType,
    documented,
)
from core.destinations.allowed import permitted
from core.errors import (
    DestinationRefused,
    InvalidSpec,
    JobNotFound,
    ModelNotFound,
    NotAvailable,
    ScopeMissing,
    SourceRefused,
    StoreUnavailable,
    WrongState,
)
from core.jobs.states import State
from core.jobs.views import EventPage, Job, JobPage
from core.recipes import Method
from core.sources import model_source, text_source
from core.spec import parse_spec

_METADATA: Final = "metadata."
_METADATA_KEY: Final = re.compile(r"[\w.-]{1,64}")

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    dependencies=[Depends(caller_of), Depends(known_query_only)],
    responses=documented(StoreUnavailable, *REFUSALS),
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
        **documented(
            InvalidSpec,
            NotAvailable,
            SourceRefused,
            DestinationRefused,
            ModelNotFound,
            MalformedBody,
            BodyTooLarge,
            UnsupportedMediaType,
            CrossSite,
            ScopeMissing,
            StoreUnavailable,
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
    bell: Bell,
    sources: Sources,
    destinations: Destinations,
    background: BackgroundTasks,
    response: Response,
    dry_run: Annotated[bool, Query(description="not available in this version")] = False,
    idempotency_key: Annotated[
        str | None, Header(description="not available in this version")
    ] = None,
) -> Job:
    """Accepts a `JobSpec` and queues it. Only `model` and `sparsity` are required."""
    if dry_run:
        raise NotAvailable("dry_run", remedy="Leave it out, and cancel the job if need be.")
    if idempotency_key is not None:
        raise NotAvailable(
            "Idempotency-Key", remedy="Leave the header out, and list jobs before you retry."
        )
    spec = parse_spec(posted)
    # Refused now rather than by a worker later: names no example has, places not allowed.
    model_source(spec.model.source, sources, spec.model.revision)
    text_source(spec.calibration.source, sources)
    if spec.output.push is not None:
        permitted(spec.output.push, destinations)
    job = jobs.create(tenant, spec, now)
    background.add_task(bell.ring, job.id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return job


@router.get(
    "",
    dependencies=[READS],
    summary="List jobs",
    response_model=JobPage,
    response_description="Newest first. `next` is the `after` of the following page.",
    responses={
        **openapi.example(200, {"data": [openapi.JOB], "has_more": False, "next": None}),
        **openapi.NOT_MODIFIED,
        **documented(InvalidSpec, StoreUnavailable),
    },
    openapi_extra=openapi.METADATA_FILTER,
)
def list_jobs(
    *,
    request: Request,
    jobs: Jobs,
    tenant: Tenant,
    state: State | None = None,
    method: Method | None = None,
    model: Annotated[
        str | None, Query(max_length=1024, pattern=r"^[^\x00]*$", description="model.source")
    ] = None,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=512, description="`next` of a page")] = None,
) -> Response:
    """All filters given must hold. `metadata.KEY=VALUE` filters on metadata, any number of times."""
    page = jobs.list(
        tenant,
        state=state,
        method=method,
        model=model,
        metadata=_metadata_filter(request),
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
        **openapi.example(200, openapi.JOB, headers=openapi.ETAG_HEADER),
        **openapi.NOT_MODIFIED,
        **documented(JobNotFound, StoreUnavailable),
    },
)
def read_job(request: Request, job_id: JobId, jobs: Jobs, tenant: Tenant) -> Response:
    """Poll with `If-None-Match`: 304 as long as nothing changed."""
    job = jobs.get(tenant, job_id)
    return tagged(request, job, f'"{job.version}"')


@router.post(
    "/{job_id}/cancel",
    dependencies=[WRITES],
    status_code=202,
    summary="Cancel a job",
    response_model=Job,
    responses={
        **openapi.example(202, {**openapi.JOB, "state": "cancelling"}),
        **documented(JobNotFound, WrongState, CrossSite, ScopeMissing, StoreUnavailable),
    },
)
def cancel_job(job_id: JobId, jobs: Jobs, tenant: Tenant, now: Now) -> Job:
    """A queued job is cancelled at once, a running one is asked to stop; repeating does no harm."""
    return jobs.cancel(tenant, job_id, now)


@router.get(
    "/{job_id}/events",
    dependencies=[READS],
    summary="Read a job's events",
    response_model=EventPage,
    response_description="Oldest first, numbered without gaps.",
    responses={
        **openapi.example(200, {"data": [openapi.EVENT], "has_more": False, "next": "4"}),
        **openapi.NOT_MODIFIED,
        **documented(JobNotFound, InvalidSpec, StoreUnavailable),
    },
)
def list_events(
    *,
    request: Request,
    job_id: JobId,
    jobs: Jobs,
    tenant: Tenant,
    after: Annotated[int, Query(ge=0, lt=2**63, description="id of the last event read")] = 0,
    limit: Limit = 100,
) -> Response:
    """Ask again with `after` set to the last id read: only what came since is returned."""
    return tagged(request, jobs.events(tenant, job_id, after=after, limit=limit))
