"""What routes ask for by name: the job store, the object store, the clock, the tenant."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from fastapi import Path as InPath

from api.auth import actor_of, calling
from api.doorbell import Doorbell
from api.turns import Turns
from core.destinations.allowed import Allowed as Pushable
from core.errors import JobNotFound
from core.estimates.estimator import Estimator
from core.jobs.audit import Actor
from core.jobs.keys import KeyStore
from core.jobs.origin import Origin
from core.jobs.rates import Rates
from core.jobs.store import JobStore
from core.jobs.webhooks import Webhooks
from core.limit_errors import OperatorOnly
from core.quotas import Quotas as ByTenant
from core.sources import Allowed
from core.store.base import ObjectStore
from core.sweep_errors import SweepNotFound
from core.telemetry import fields

_JOB_ID: Final = re.compile(r"job_[0-9a-z]{24}")
_SWEEP_ID: Final = re.compile(r"swp_[0-9a-z]{24}")


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything a process of the API holds open."""

    jobs: JobStore
    store: ObjectStore
    doorbell: Doorbell
    clock: Callable[[], datetime]
    allowed: Allowed
    """Where file:// and s3:// sources may lie."""
    destinations: Pushable
    """Where results may be pushed."""
    keys: KeyStore
    quotas: ByTenant
    """Of tenants whose quota was not set over HTTP."""
    operator_tenant: str
    webhooks: Webhooks
    estimator: Estimator
    rates: Rates
    readers: Turns
    writers: Turns


async def _resources(request: Request) -> Resources:
    return cast("Resources", request.app.state.resources)


Held = Annotated[Resources, Depends(_resources)]


async def _jobs(held: Held) -> JobStore:
    return held.jobs


async def _store(held: Held) -> ObjectStore:
    return held.store


async def _doorbell(held: Held) -> Doorbell:
    return held.doorbell


async def _now(held: Held) -> datetime:
    return held.clock()


async def _sources(held: Held) -> Allowed:
    return held.allowed


async def _destinations(held: Held) -> Pushable:
    return held.destinations


async def _readers(held: Held) -> Turns:
    return held.readers


async def _writers(held: Held) -> Turns:
    return held.writers


async def _webhooks(held: Held) -> Webhooks:
    return held.webhooks


async def _tenant(request: Request) -> str:
    return (await calling(request)).tenant


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an administrator sees: its own tenant, or all of them."""

    tenant: str
    everywhere: bool

    def within(self, asked: str | None) -> str | None:
        """The tenant to look at, None for all. Raises OperatorOnly for another than one's own."""
        if self.everywhere:
            return asked
        if asked not in (None, self.tenant):
            raise OperatorOnly
        return self.tenant


async def _reach(request: Request, held: Held) -> Reach:
    caller = await calling(request)
    # Without keys, whoever is on this machine is the operator, as at the command line.
    everywhere = caller.key is None or caller.tenant == held.operator_tenant
    return Reach(caller.tenant, everywhere)


async def operator_only(reach: Annotated[Reach, Depends(_reach)]) -> None:
    """Raise OperatorOnly, whatever was asked for."""
    if not reach.everywhere:
        raise OperatorOnly


async def _keys(held: Held) -> KeyStore:
    return held.keys


async def _quotas(held: Held) -> ByTenant:
    return held.quotas


async def _job_id(
    job_id: Annotated[
        str,
        InPath(
            description="as POST /v1/jobs answered it", examples=["job_0123456789abcdefghjkmnpq"]
        ),
    ],
) -> str:
    """Ids that no job can have never reach the database."""
    check_job_id(job_id)
    fields.note(job=job_id)
    return job_id


def check_job_id(job_id: str) -> None:
    """Raise JobNotFound for what no job is called."""
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFound(job_id[:100])


async def _sweep_id(
    sweep_id: Annotated[
        str,
        InPath(
            description="as POST /v1/sweeps answered it", examples=["swp_0123456789abcdefghjkmnpq"]
        ),
    ],
) -> str:
    """The same of sweeps."""
    if not _SWEEP_ID.fullmatch(sweep_id):
        raise SweepNotFound(sweep_id[:100])
    return sweep_id


async def _origin(request: Request) -> Origin:
    """The request as a job remembers it."""
    request_id = fields.current().get("request_id")
    return Origin(
        str(request_id) if request_id else None, request.scope.get("secateur.traceparent")
    )


Jobs = Annotated[JobStore, Depends(_jobs)]
Store = Annotated[ObjectStore, Depends(_store)]
Bell = Annotated[Doorbell, Depends(_doorbell)]
Now = Annotated[datetime, Depends(_now)]
Sources = Annotated[Allowed, Depends(_sources)]
Destinations = Annotated[Pushable, Depends(_destinations)]
Hooks = Annotated[Webhooks, Depends(_webhooks)]
Tenant = Annotated[str, Depends(_tenant)]
Readers = Annotated[Turns, Depends(_readers)]
Writers = Annotated[Turns, Depends(_writers)]
Keys = Annotated[KeyStore, Depends(_keys)]
Quotas = Annotated[ByTenant, Depends(_quotas)]
Administered = Annotated[Reach, Depends(_reach)]
By = Annotated[Actor, Depends(actor_of)]
MadeBy = Annotated[Origin, Depends(_origin)]
JobId = Annotated[str, Depends(_job_id)]
SweepId = Annotated[str, Depends(_sweep_id)]
