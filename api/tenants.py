"""What tenants have and may have: one's own for everybody, all of them for the operator."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from api import openapi
from api.auth import ADMINISTERS, READS
from api.bodies import PostedObject
from api.dependencies import By, Jobs, Now, Quotas, Tenant, operator_only
from api.forms import body_of, parse
from api.problems import documented
from core.jobs.tenant_views import TenantUsage
from core.limit_errors import OperatorOnly
from core.quotas import Quota

EXAMPLE: Final[dict[str, Any]] = {
    "tenant": "search",
    "usage": {"queued_jobs": 3, "running_jobs": 1, "stored_bytes": 21400000},
    "quota": {
        "queued_jobs": 100,
        "running_jobs": 2,
        "stored_bytes": 500000000000,
        "job_bytes": None,
        "job_flops": None,
        "job_seconds": 86400,
    },
}

router = APIRouter(
    prefix="/v1",
    tags=["administration"],
)
TenantName = Annotated[
    str,
    Path(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="the tenant's name", examples=["search"]
    ),
]


class TenantList(BaseModel):
    data: list[TenantUsage]


@router.get(
    "/usage",
    dependencies=[READS],
    summary="Read your own tenant's usage and quota",
    responses=openapi.example(200, EXAMPLE),
)
def read_usage(jobs: Jobs, tenant: Tenant, quotas: Quotas) -> TenantUsage:
    """What is queued, running and stored now, and what may be."""
    return jobs.usage(tenant, quotas)


@router.get(
    "/tenants",
    dependencies=[ADMINISTERS, Depends(operator_only)],
    summary="List all tenants",
    responses={
        **openapi.example(200, {"data": [EXAMPLE]}),
        **documented(OperatorOnly),
    },
)
def list_tenants(jobs: Jobs, quotas: Quotas) -> TenantList:
    """Every tenant that has a job, a key or a quota of its own, by name."""
    return TenantList(data=jobs.tenants(quotas))


@router.put(
    "/tenants/{tenant}/quota",
    dependencies=[ADMINISTERS, Depends(operator_only)],
    summary="Give a tenant a quota",
    responses={
        **openapi.example(200, EXAMPLE),
        **documented(OperatorOnly),
    },
    openapi_extra=body_of(Quota, {"queued_jobs": 100, "running_jobs": 2}),
)
def set_quota(
    *, tenant: TenantName, posted: PostedObject, jobs: Jobs, quotas: Quotas, now: Now, by: By
) -> TenantUsage:
    """It replaces all that the settings say of this tenant; what is left out is not limited."""
    jobs.set_quota(tenant, parse(Quota, posted), now, by=by)
    return jobs.usage(tenant, quotas)


@router.delete(
    "/tenants/{tenant}/quota",
    dependencies=[ADMINISTERS, Depends(operator_only)],
    summary="Let the settings' quota count again",
    responses={
        **openapi.example(200, EXAMPLE),
        **documented(OperatorOnly),
    },
)
def clear_quota(*, tenant: TenantName, jobs: Jobs, quotas: Quotas, now: Now, by: By) -> TenantUsage:
    """Takes back what was set here; repeating does no harm."""
    jobs.clear_quota(tenant, now, by=by)
    return jobs.usage(tenant, quotas)
