"""Webhooks over HTTP: a job's deliveries, a tenant's secret, and a message for trying it out.

What is sent, and to where, is in `core.webhooks`; nothing is sent from here.
"""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath

from api import openapi, webhook_examples
from api.answers import tagged
from api.auth import READS, WRITES, calling
from api.bodies import PostedObject
from api.dependencies import By, Hooks, JobId, Now, Tenant
from api.forms import parse
from api.problems import documented
from core.calibration_spec import Strict
from core.errors import JobNotFound
from core.jobs.delivery_views import Delivery, DeliveryPage, SecretInfo, ShownSecret
from core.webhooks.allowed import permitted
from core.webhooks.errors import DeliveryNotFound, RotatedTooOften, WebhookRefused

_DELIVERY_ID: Final = re.compile(r"msg_(test|[0-9a-z]{24})_[0-9a-f]{1,24}")

router = APIRouter(
    prefix="/v1",
    tags=["webhooks"],
    dependencies=[Depends(calling)],
)


async def _delivery_id(
    delivery_id: Annotated[
        str,
        InPath(
            description="as lists and the message itself have it",
            examples=[webhook_examples.DELIVERY_ID],
        ),
    ],
) -> str:
    """Ids that no delivery can have never reach the database."""
    if not _DELIVERY_ID.fullmatch(delivery_id):
        raise DeliveryNotFound(delivery_id[:100])
    return delivery_id


DeliveryId = Annotated[str, Depends(_delivery_id)]


class Trial(Strict):
    """Where a message is sent for trying it out."""

    url: str


@router.get(
    "/jobs/{job_id}/deliveries",
    dependencies=[READS],
    summary="List a job's webhook deliveries",
    response_model=DeliveryPage,
    response_description="Oldest first, each with its newest tries.",
    responses={
        **openapi.example(200, webhook_examples.PAGE),
        **openapi.NOT_MODIFIED,
        **documented(JobNotFound),
    },
)
def list_deliveries(
    *,
    request: Request,
    job_id: JobId,
    hooks: Hooks,
    tenant: Tenant,
    after: Annotated[int, Query(ge=0, lt=2**31, description="`next` of a page")] = 0,
    limit: Annotated[int, Query(ge=1, le=200, description="how many at most")] = 100,
) -> Response:
    """Every message about the job's moves that its spec asks for, and what became of it."""
    return tagged(request, hooks.deliveries.of_job(tenant, job_id, after=after, limit=limit))


@router.post(
    "/jobs/{job_id}/deliveries/{delivery_id}/redeliver",
    dependencies=[WRITES],
    status_code=202,
    summary="Deliver once more",
    response_model=Delivery,
    responses={
        **openapi.example(202, {**webhook_examples.DELIVERY, "state": "pending"}),
        **documented(JobNotFound, DeliveryNotFound),
    },
)
def redeliver(
    job_id: JobId, delivery_id: DeliveryId, hooks: Hooks, tenant: Tenant, now: Now, by: By
) -> Delivery:
    """The same message under the same `webhook-id`, now, and with as many tries as a new one."""
    return hooks.deliveries.redeliver(tenant, job_id, delivery_id, now, by=by)


@router.get(
    "/webhooks/deliveries/{delivery_id}",
    dependencies=[READS],
    summary="Read a webhook delivery",
    response_model=Delivery,
    responses={
        **openapi.example(200, webhook_examples.DELIVERY),
        **openapi.NOT_MODIFIED,
        **documented(DeliveryNotFound),
    },
)
def read_delivery(
    request: Request, delivery_id: DeliveryId, hooks: Hooks, tenant: Tenant
) -> Response:
    """Any of the tenant's: also a test's, which belongs to no job."""
    return tagged(request, hooks.deliveries.get(tenant, delivery_id))


@router.post(
    "/webhooks/test",
    dependencies=[WRITES],
    status_code=202,
    summary="Send a test message",
    response_model=Delivery,
    responses={
        **openapi.example(202, webhook_examples.TEST, headers=webhook_examples.TEST_HEADERS),
        **documented(WebhookRefused),
    },
    openapi_extra=webhook_examples.TRIAL_BODY,
)
def send_test(
    *, posted: PostedObject, hooks: Hooks, tenant: Tenant, now: Now, by: By, response: Response
) -> Delivery:
    """A worker sends one signed message of type `webhook.test` to the URL, once."""
    trial = parse(Trial, posted)
    target = permitted(trial.url, hooks.allowed)
    made = hooks.deliveries.test(tenant, trial.url, target, now, hooks.entropy, by=by)
    response.headers["Location"] = f"/v1/webhooks/deliveries/{made.id}"
    response.headers["Retry-After"] = "2"
    return made


@router.get(
    "/webhooks/secret",
    dependencies=[READS],
    summary="Which secret signs",
    response_model=SecretInfo,
    responses={
        **openapi.example(200, webhook_examples.SECRET_INFO),
        **openapi.NOT_MODIFIED,
    },
)
def describe_secret(request: Request, hooks: Hooks, tenant: Tenant, now: Now) -> Response:
    """Everything about the tenant's secret but itself."""
    return tagged(request, hooks.secrets.describe(tenant, now))


@router.post(
    "/webhooks/secret",
    dependencies=[WRITES],
    summary="Show the secret",
    response_model=ShownSecret,
    response_description="What receivers check signatures with.",
    responses={
        **openapi.example(200, webhook_examples.SHOWN_SECRET),
    },
)
def show_secret(hooks: Hooks, tenant: Tenant, now: Now, by: By, response: Response) -> ShownSecret:
    """The tenant's secret, which is made if there is none yet. Repeating does no harm."""
    response.headers["Cache-Control"] = "no-store"
    return hooks.secrets.show(tenant, now, hooks.entropy, by=by)


@router.post(
    "/webhooks/secret/rotate",
    dependencies=[WRITES],
    summary="Rotate the secret",
    response_model=ShownSecret,
    response_description="The new secret.",
    responses={
        **openapi.example(200, webhook_examples.SHOWN_SECRET),
        **documented(RotatedTooOften),
    },
)
def rotate_secret(
    hooks: Hooks, tenant: Tenant, now: Now, by: By, response: Response
) -> ShownSecret:
    """From now on the new one signs, and for 24 hours the one before it as well."""
    response.headers["Cache-Control"] = "no-store"
    return hooks.secrets.rotate(tenant, now, hooks.entropy, by=by)
