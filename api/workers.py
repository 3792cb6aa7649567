"""Who carries jobs out."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api import openapi
from api.answers import tagged
from api.auth import READS
from api.dependencies import Jobs, Now, Tenant
from core.jobs.presence import Worker

router = APIRouter(
    prefix="/v1/workers",
    tags=["workers"],
)


class WorkerList(BaseModel):
    data: list[Worker]


@router.get(
    "",
    dependencies=[READS],
    summary="List workers",
    response_model=WorkerList,
    response_description="By name; those not heard of for a day are gone.",
    responses={**openapi.example(200, {"data": [openapi.WORKER]}), **openapi.NOT_MODIFIED},
)
def list_workers(request: Request, jobs: Jobs, tenant: Tenant, now: Now) -> Response:
    """`busy` says that a worker carries out a job, and `job` which one, where it is your own."""
    return tagged(request, WorkerList(data=jobs.workers(tenant, now)))
