"""What is done to a job over HTTP: cancel, retry, delete."""

import logging

from fastapi import APIRouter, BackgroundTasks, Depends, Response

from api import openapi
from api.auth import WRITES, calling
from api.dependencies import Bell, By, JobId, Jobs, Now, Quotas, Store, Tenant
from api.problems import documented
from core import removal
from core.errors import JobNotFound, StoreError, WrongState
from core.jobs.views import Job
from core.limit_errors import QueueFull, StorageFull

logger = logging.getLogger(__name__)

router = APIRouter(
    prefix="/v1/jobs/{job_id}",
    tags=["jobs"],
    dependencies=[Depends(calling), WRITES],
)


@router.post(
    "/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=Job,
    responses={
        **openapi.example(202, {**openapi.JOB, "state": "cancelling"}),
        **documented(JobNotFound, WrongState),
    },
)
def cancel_job(job_id: JobId, jobs: Jobs, tenant: Tenant, now: Now, by: By) -> Job:
    """A queued job is cancelled at once, a running one is asked to stop; repeating does no harm."""
    return jobs.cancel(tenant, job_id, now, by=by)


@router.post(
    "/retry",
    status_code=202,
    summary="Retry a job that failed or was cancelled",
    response_model=Job,
    responses={
        **openapi.example(202, openapi.RETRIED),
        **documented(JobNotFound, WrongState, QueueFull, StorageFull),
    },
)
def retry_job(
    *,
    job_id: JobId,
    jobs: Jobs,
    tenant: Tenant,
    now: Now,
    quotas: Quotas,
    by: By,
    bell: Bell,
    background: BackgroundTasks,
) -> Job:
    """Queues it again under the same id, with the same spec, as if it had just been posted.

    Attempts are counted from 1 again; its events go on where they were.
    """
    job = jobs.retry(tenant, job_id, now, quotas=quotas, by=by)
    background.add_task(bell.ring, job.id)
    return job


@router.delete(
    "",
    status_code=204,
    summary="Delete a job that has ended",
    response_description="Nobody finds it any more.",
    responses=documented(JobNotFound, WrongState),
)
def delete_job(
    *, job_id: JobId, jobs: Jobs, store: Store, tenant: Tenant, now: Now, by: By
) -> Response:
    """Removes it for good, with its artifacts and its history.

    Where the object store is away, a worker removes the artifacts once it is back.
    """
    jobs.bury(tenant, job_id, now, by=by)
    try:
        removal.remove(jobs, store, job_id, now)
    except StoreError as error:
        logger.warning("%s: a worker will remove what is left of it: %s", job_id, error)
    return Response(status_code=204)
