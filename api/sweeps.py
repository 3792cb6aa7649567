"""Sweeps over HTTP: many jobs from a base and a grid, all of them or none."""

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api import compared, openapi, sweep_examples
from api.answers import tagged
from api.auth import READS, WRITES, calling
from api.bodies import PostedObject
from api.comparisons import UNREADABLE
from api.dependencies import (
    Bell,
    By,
    Destinations,
    Hooks,
    Jobs,
    MadeBy,
    Now,
    Quotas,
    Sources,
    Store,
    SweepId,
    Tenant,
)
from api.doorbell import Doorbell
from api.estimates import PROBLEMS, Estimates, checked_size, checked_spec
from api.idempotency import IdempotencyKey
from api.problems import NotAcceptable, documented
from api.sweep_estimates import SweepEstimate, estimated
from api.waiting import Wait, WaitingRoom, of_sweep, worth_telling
from core import removal
from core.comparison.compare import compare
from core.comparison.document import Comparison
from core.comparison.reading import Source
from core.errors import StoreError, WrongState
from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.jobs.idempotency import Once, digest_of
from core.jobs.states import State
from core.jobs.sweep_views import Sweep, SweepPage
from core.jobs.sweeps import SweepResult
from core.limit_errors import JobTooLarge, QueueFull, StorageFull
from core.spec import JobSpec
from core.store.base import ObjectStore
from core.sweep_errors import SweepNotFound
from core.sweep_spec import parse_sweep, planned
from core.waiting_errors import NoPlaceToWait, TooManyWaiting

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], dependencies=[Depends(calling)])

_ACCEPTED = {
    **openapi.ACCEPTED_HEADERS,
    "Location": {"description": "the sweep", "schema": {"type": "string"}},
}


@router.post(
    "",
    dependencies=[WRITES],
    status_code=202,
    summary="Submit a sweep",
    response_model=Sweep,
    response_description="Accepted, with all its jobs; `Location` is where to watch it.",
    responses={
        **openapi.example(202, sweep_examples.SWEEP, headers=_ACCEPTED),
        200: {
            "description": "With `dry_run=true`: what the jobs would take.",
            "model": SweepEstimate,
            **openapi.example(200, sweep_examples.DRY)[200],
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
    openapi_extra=sweep_examples.BODY,
)
def submit_sweep(
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
        bool, Query(description="answer 200 with what the jobs would take, and queue nothing")
    ] = False,
) -> Sweep | Response:
    """Makes a job of every combination of the grid's values, in the order of nested loops, of which the last
    path's is the innermost. Every job is checked before any is queued; one problem names all that are wrong.

    With an `Idempotency-Key` the request can be sent again, and makes one sweep.
    """
    check = _checker(sources, destinations, hooks)
    plan = planned(parse_sweep(posted), check)
    if dry_run:
        found = estimated(plan.cells, estimates)
        return Response(found.model_dump_json(), media_type="application/json")
    quota = jobs.quota(tenant, quotas)
    for cell in plan.cells:
        checked_size(cell.spec, quota, estimates)
    once = None if key is None else Once(key, digest_of(posted))
    made = jobs.create_sweep(tenant, plan, now, origin, once=once, quotas=quotas, by=by)
    background.add_task(_ring, bell, made.sweep)
    response.headers["Location"] = f"/v1/sweeps/{made.sweep.id}"
    response.headers["Retry-After"] = "1"
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return made.sweep


def _checker(
    sources: Sources, destinations: Destinations, hooks: Hooks
) -> Callable[[dict[str, Any]], JobSpec]:
    return lambda cell: checked_spec(cell, sources, destinations, hooks.allowed)


def _ring(bell: Doorbell, sweep: Sweep) -> None:
    """One call for each job that waits. Where the first finds nobody, the reaper makes the others."""
    for cell in sweep.cells or ():
        if cell.job is not None and cell.state is State.QUEUED and not bell.ring(cell.job):
            return


@router.get(
    "",
    dependencies=[READS],
    summary="List sweeps",
    response_model=SweepPage,
    response_description="Newest first. `next` is the `after` of the following page.",
    responses={
        **openapi.example(200, {"data": [sweep_examples.LISTED], "has_more": False, "next": None}),
        **openapi.NOT_MODIFIED,
    },
)
def list_sweeps(
    *,
    request: Request,
    jobs: Jobs,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=200, description="how many at most")] = 50,
    after: Annotated[str | None, Query(max_length=512, description="`next` of a page")] = None,
) -> Response:
    """A list does not show a sweep's jobs; `GET /v1/jobs?sweep=ID` lists them."""
    return tagged(request, jobs.sweeps(tenant, limit=limit, after=after))


@router.get(
    "/{sweep_id}",
    dependencies=[READS],
    summary="Read a sweep",
    response_model=Sweep,
    responses={
        **openapi.example(200, sweep_examples.SWEEP),
        **openapi.NOT_MODIFIED,
        **documented(SweepNotFound, TooManyWaiting, NoPlaceToWait),
    },
)
async def read_sweep(
    *,
    request: Request,
    sweep_id: SweepId,
    jobs: Jobs,
    tenant: Tenant,
    room: WaitingRoom,
    wait: Wait = 0,
) -> Response:
    """`state` is `running` until every job has ended; then `succeeded`, `failed` or `cancelled` where all
    ended alike, `mixed` where they did not, and `empty` where all were deleted.

    With `wait` the answer comes once a job has moved, or all have ended.
    """

    async def read() -> Sweep:
        return await run_in_threadpool(jobs.sweep, tenant, sweep_id)

    sweep = await read()
    if wait:
        with room.places.one(tenant):
            sweep = await worth_telling(request, room, read, sweep, wait, of_sweep)
    return tagged(request, sweep)


@router.post(
    "/{sweep_id}/cancel",
    dependencies=[WRITES],
    status_code=202,
    summary="Cancel a sweep",
    response_model=Sweep,
    responses={
        **openapi.example(202, sweep_examples.SWEEP),
        **documented(SweepNotFound, WrongState),
    },
)
def cancel_sweep(sweep_id: SweepId, jobs: Jobs, tenant: Tenant, now: Now, by: By) -> Sweep:
    """Cancels every job that has not ended, all in one transaction; repeating does no harm until all have."""
    return jobs.cancel_sweep(tenant, sweep_id, now, by=by)


@router.delete(
    "/{sweep_id}",
    dependencies=[WRITES],
    status_code=204,
    summary="Delete a sweep that has ended",
    response_description="Nobody finds it or its jobs any more.",
    responses=documented(SweepNotFound, WrongState),
)
def delete_sweep(
    *, sweep_id: SweepId, jobs: Jobs, store: Store, tenant: Tenant, now: Now, by: By
) -> Response:
    """Removes it for good, with its jobs, their artifacts and their histories.

    Where the object store is away, a worker removes the artifacts once it is back.
    """
    children = jobs.bury_sweep(tenant, sweep_id, now, by=by)
    try:
        for job_id in children:
            removal.remove(jobs, store, job_id, now)
        removal.remove_sweep(jobs, store, sweep_id, now)
    except StoreError as error:
        logger.warning("%s: a worker will remove what is left of it: %s", sweep_id, error)
    return Response(status_code=204)


@router.get(
    "/{sweep_id}/comparison",
    dependencies=[READS],
    summary="Compare a sweep's jobs",
    response_class=Response,
    responses={
        **compared.ANSWERS,
        **documented(SweepNotFound, NotAcceptable, StoreError),
    },
)
def compare_sweep(
    request: Request, sweep_id: SweepId, jobs: Jobs, store: Store, tenant: Tenant
) -> Response:
    """As `/v1/compare`, of every job, in the order of the grid; `note` says why one has no report (yet)."""
    kind = compared.wanted_kind(request)
    found = jobs.sweep_results(tenant, sweep_id)
    name = jobs.sweep(tenant, sweep_id).name or f"Sweep {sweep_id}"
    return compared.answer(request, kind, _comparison(store, found), name)


def _comparison(store: ObjectStore, found: list[SweepResult]) -> Comparison:
    keys = [each.manifest_key for each in found if each.manifest_key is not None]
    read = dict(zip(keys, compared.reports(store, keys), strict=True))
    sources = []
    for each in found:
        report = read.get(each.manifest_key or "")
        # Of a job without a report, what was asked for is known.
        shown = {"job": each.spec} if report is None else report
        sources.append(Source(each.job_id, shown, _note(each) if report is None else None))
    return compare(sources)


def _note(result: SweepResult) -> str:
    if result.manifest_key is not None:
        return UNREADABLE
    if result.expired:
        return "its result has expired"
    if result.state is State.FAILED and result.error:
        return f"failed: {result.error}"
    return f"{result.state.value}: no report" + (
        " yet" if result.state is not State.CANCELLED else ""
    )
