"""The audit log over HTTP: an administrator reads its tenant's deeds, the operator everybody's."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from api import openapi
from api.answers import tagged
from api.auth import ADMINISTERS
from api.dependencies import Administered, Jobs
from api.keys import TENANT_QUERY
from api.problems import documented
from core.jobs.audit import AuditFilter
from core.jobs.audit_views import AuditPage
from core.limit_errors import OperatorOnly

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]", re.ASCII)
EXAMPLE: Final[dict[str, Any]] = {
    "id": "aud_0123456789abcdef01234567",
    "at": "2026-11-02T09:00:00Z",
    "tenant": "search",
    "key_id": "key_0123456789ab",
    "action": "job.submit",
    "target": openapi.JOB_ID,
    "outcome": "done",
    "address": "192.0.2.7",
    "request_id": None,
    "detail": {},
}

router = APIRouter(
    prefix="/v1/audit",
    tags=["administration"],
    dependencies=[ADMINISTERS],
    responses=documented(OperatorOnly),
)


def _written_out(text: str) -> str:
    if not _DATE.match(text):  # seconds since 1970 would do for pydantic
        raise ValueError("write it as in 2026-11-02T09:00:00Z")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the calendar") from None


def _word(description: str) -> Any:
    return Query(max_length=100, pattern=r"^[^\x00]*$", description=description)


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]


@router.get(
    "",
    summary="Read the audit log",
    response_model=AuditPage,
    response_description="Newest first. `next` is the `after` of the following page.",
    responses={
        **openapi.example(200, {"data": [EXAMPLE], "has_more": False, "next": None}),
        **openapi.NOT_MODIFIED,
    },
)
def read_audit(
    *,
    request: Request,
    jobs: Jobs,
    reach: Administered,
    tenant: Annotated[str | None, TENANT_QUERY] = None,
    action: Annotated[str | None, _word("what was done, as in `job.submit`")] = None,
    key_id: Annotated[str | None, _word("by whose key")] = None,
    target: Annotated[str | None, _word("to what: a job, a key, a path")] = None,
    outcome: Annotated[str | None, _word("`done`, or the code of a refusal")] = None,
    since: Annotated[Moment | None, Query(description="from this moment on")] = None,
    until: Annotated[Moment | None, Query(description="before this moment")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="how many at most")] = 50,
    after: Annotated[str | None, Query(max_length=512, description="`next` of a page")] = None,
) -> Response:
    """All filters given must hold. What was refused is here too, with the code of the refusal."""
    wanted = AuditFilter(
        tenant=reach.within(tenant),
        action=action,
        key_id=key_id,
        target=target,
        outcome=outcome,
        since=since,
        until=until,
    )
    return tagged(request, jobs.audit(wanted, limit=limit, after=after))
