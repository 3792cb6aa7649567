"""What a job would take, before it is submitted."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api import openapi
from api.auth import REFUSALS, WRITES
from api.bodies import PostedObject
from api.dependencies import Destinations, Held, Hooks, Sources, Tenant
from api.problems import (
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    UnsupportedMediaType,
    documented,
)
from core.destinations.allowed import Allowed as Pushable
from core.destinations.allowed import permitted
from core.destinations.errors import DestinationRefused
from core.errors import (
    BadTokenFile,
    BrokenCheckpoint,
    InvalidSpec,
    ModelNotFound,
    NotAvailable,
    SecateurError,
    SourceRefused,
    SourceUnavailable,
    StoreUnavailable,
    TextNotFound,
    TextTooShort,
    UnsafeModel,
    UnsupportedModel,
)
from core.estimates.errors import EstimatesBusy, SourceTooSlow
from core.estimates.views import Estimate
from core.key_errors import ScopeMissing
from core.quotas import JobSize, Quota, check_size
from core.sources import Allowed, model_source, text_source
from core.spec import JobSpec, parse_spec
from core.webhooks.allowed import Allowed as Listeners
from core.webhooks.allowed import permitted as may_be_told
from core.webhooks.errors import WebhookRefused

PROBLEMS: Final[tuple[type[SecateurError], ...]] = (
    InvalidSpec, NotAvailable, SourceRefused, DestinationRefused, WebhookRefused, ModelNotFound, UnsafeModel,
    UnsupportedModel, BrokenCheckpoint, TextNotFound, TextTooShort, BadTokenFile, SourceUnavailable,
    SourceTooSlow, EstimatesBusy, StoreUnavailable,
)  # fmt: skip
"""What an estimate may be refused with: nearly all that a job would end with."""

EXAMPLE: Final[dict[str, Any]] = {
    "plan": {
        "mode": "resident",
        "device": "cpu",
        "group": 16,
        "hold_inputs": True,
        "peak_bytes": 1166309888,
        "least_peak_bytes": 838860800,
        "memory_budget": 8000000000,
        "fits": True,
        "forwards": 1152,
        "flops": 1862270976000.0,
        "solver_flops": 0.0,
    },
    "model": {
        "source": "example:kjv-dlm",
        "revision": "sha256:86ed49e76835fdcd532805168e24922d674a2b5a9aba8984eb31dae26fc8dc70",
        "family": "llada",
        "parameters": 2682432,
        "prunable_parameters": 2654208,
        "bytes": 10735992,
    },
    "calibration": {"samples": 64, "timesteps": 10, "positions": 256, "evaluated": 256},
    "output_bytes": 14620000,
    "seconds": 93.1,
    "warnings": [],
}

router = APIRouter(
    prefix="/v1",
    tags=["jobs"],
    dependencies=[WRITES],
    responses=documented(StoreUnavailable, *REFUSALS),
)


def checked_spec(
    posted: dict[str, Any], sources: Allowed, destinations: Pushable, listeners: Listeners
) -> JobSpec:
    """The posted spec, of which nothing is refused later that can be refused without a look at what it
    names: no such example, places not allowed.

    Raises:
        InvalidSpec, NotAvailable, SourceRefused, DestinationRefused, WebhookRefused, ModelNotFound.
    """
    spec = parse_spec(posted)
    for model in (spec.model, spec.control):
        if model is not None:
            model_source(model.source, sources, model.revision)
    text_source(spec.calibration.source, sources)
    if spec.output.push is not None:
        permitted(spec.output.push, destinations)
    if spec.webhook is not None:
        may_be_told(spec.webhook.url, listeners)
    return spec


def checked_size(spec: JobSpec, quota: Quota, estimates: "Maker") -> None:
    """Raise JobTooLarge where the job would take more than one of its tenant's may.

    Only where there is such a limit: an estimate reads the model's headers, wherever they are.
    """
    if quota.limits_size:
        found = estimates(spec)
        check_size(JobSize(found.plan.peak_bytes, found.plan.flops, found.seconds), quota)


async def made_estimate(held: Held, tenant: Tenant) -> "Maker":
    """`Estimates` of whoever asks."""
    return Maker(held, tenant)


class Maker:
    """Makes estimates for one tenant."""

    def __init__(self, held: Held, tenant: str) -> None:
        self._held, self._tenant = held, tenant

    def __call__(self, spec: JobSpec) -> Estimate:
        """Raises what PROBLEMS lists."""
        rate = self._held.rates.flops_per_second(self._tenant)
        return self._held.estimator.estimate(spec, self._tenant, rate)


Estimates = Annotated[Maker, Depends(made_estimate)]


@router.post(
    "/estimate",
    summary="Estimate a job",
    response_model=Estimate,
    response_description="What the job would take. Nothing is queued.",
    responses={
        **openapi.example(200, EXAMPLE),
        **documented(
            *PROBLEMS, MalformedBody, BodyTooLarge, UnsupportedMediaType, CrossSite, ScopeMissing
        ),
    },
    openapi_extra=openapi.SPEC_BODY,
)
def estimate_job(
    posted: PostedObject,
    sources: Sources,
    destinations: Destinations,
    hooks: Hooks,
    estimates: Estimates,
) -> Estimate:
    """Takes a `JobSpec` and reads the model's config and headers, never its weights. What a worker would
    refuse for this model is refused here."""
    return estimates(checked_spec(posted, sources, destinations, hooks.allowed))


def dry_answer(estimate: Estimate) -> Response:
    """The answer to `?dry_run=true`: what /v1/estimate would say, and no job."""
    return Response(estimate.model_dump_json(), media_type="application/json")
