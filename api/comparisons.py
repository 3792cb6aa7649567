"""Reports of several jobs side by side."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api import compared
from api.auth import READS
from api.dependencies import Jobs, Store, Tenant, check_job_id
from api.problems import NotAcceptable, documented
from core.comparison.compare import MOST, compare
from core.comparison.reading import Source
from core.errors import ArtifactsExpired, InvalidSpec, JobNotFound, StoreError, WrongState

UNREADABLE: Final = "its report is missing or damaged"

router = APIRouter(prefix="/v1", tags=["artifacts"], dependencies=[READS])


@router.get(
    "/compare",
    summary="Compare the reports of jobs",
    response_class=Response,
    responses={
        **compared.ANSWERS,
        **documented(JobNotFound, WrongState, ArtifactsExpired, NotAcceptable, StoreError),
    },
)
def compare_jobs(
    *,
    request: Request,
    job: Annotated[
        list[str],
        Query(
            min_length=2,
            max_length=MOST,
            description=f"a job's id; 2 to {MOST} of them, each in a parameter of its own",
            json_schema_extra={"uniqueItems": True},
            examples=[["job_0123456789abcdefghjkmnpq", "job_fedcba9876543210zyxwvuts"]],
        ),
    ],
    jobs: Jobs,
    store: Store,
    tenant: Tenant,
) -> Response:
    """One table and one plot, as JSON, or as one self-contained page for a client that prefers `text/html`.

    `comparable` says whether all losses are of the same model, on the same text, with the same noise; if
    not, `differs` and `warnings` say what differs. What a report does not have is null, and named.
    """
    if len(set(job)) < len(job):
        fields = [{"field": "job", "message": "names a job twice"}]
        raise InvalidSpec("The query is not valid.", fields=fields)
    kind = compared.wanted_kind(request)
    keys = [_manifest_key(jobs, tenant, job_id) for job_id in job]
    found = compared.reports(store, keys)
    for job_id, report in zip(job, found, strict=True):
        if report is None:
            _manifest_key(jobs, tenant, job_id)  # says so if it has expired since
    comparison = compare(
        [
            Source(job_id, report or {}, None if report else UNREADABLE)
            for job_id, report in zip(job, found, strict=True)
        ]
    )
    return compared.answer(request, kind, comparison, "Comparison of jobs")


def _manifest_key(jobs: Jobs, tenant: Tenant, job_id: str) -> str:
    """Raises JobNotFound, ArtifactsExpired, and WrongState before the job has succeeded."""
    check_job_id(job_id)
    key = jobs.manifest_key(tenant, job_id)
    if key is None:
        state = jobs.get(tenant, job_id).state
        raise WrongState(
            f"job {job_id} is {state} and has no report to compare.",
            remedy=f"A report appears when a job succeeds; GET /v1/jobs/{job_id} says how it stands.",
        )
    return key
