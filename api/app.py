"""The API, wired together."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from secrets import token_bytes
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import (
    artifacts,
    audit,
    auth,
    catalog,
    dashboard,
    described,
    events,
    health,
    jobs,
    keys,
    metrics,
    observed,
    openapi,
    problems,
    sessions,
    tenants,
    webhooks,
    workers,
)
from api.access import Access
from api.dependencies import Resources
from api.doorbell import Doorbell
from api.guards import Guard
from api.limiter import Limiter, RateHeaders
from api.pace import Pace
from api.places import Places
from api.refusals import Refusals
from api.waiting import Waiting
from api.watcher import Watcher
from core.destinations.allowed import Allowed as Destinations
from core.errors import BadRequest
from core.jobs.database import Database
from core.jobs.deliveries import DeliveryStore
from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.jobs.webhook_secrets import SecretStore
from core.jobs.webhooks import Webhooks
from core.settings import Settings
from core.sources import Allowed
from core.store.urls import open_store
from core.telemetry.tracing import open_tracer
from core.webhooks.allowed import Allowed as Listeners

ROUTERS: Final = (
    jobs.router,
    events.router,
    artifacts.router,
    catalog.router,
    workers.router,
    keys.router,
    tenants.router,
    audit.router,
    health.router,
    metrics.router,
    dashboard.router,
    sessions.router,
    webhooks.router,
)


TRACES_SECONDS: Final = 2.0  # for what has not been sent when the server ends


def create_app(settings: Settings, *, loopback: bool = True) -> FastAPI:
    """The application; its database is brought up to date when it starts.

    `loopback` says that only this machine can reach it. Otherwise it serves nobody without a key,
    even where there is none.

    Raises:
        BadRequest: the database, the broker or the object store is not configured.
    """
    url = _configured("SECATEUR_DATABASE_URL", settings.database_url)
    database = Database(url)
    store_url = _configured("SECATEUR_STORE_URL", settings.store_url)
    resources = Resources(
        jobs=JobStore(database),
        store=open_store(store_url),
        doorbell=Doorbell(_configured("SECATEUR_BROKER_URL", settings.broker_url)),
        clock=lambda: datetime.now(UTC),
        allowed=Allowed(settings.model_roots, settings.source_buckets),
        destinations=Destinations(settings.push_destinations, store_url),
        keys=KeyStore(database),
        quotas=settings.quotas,
        operator_tenant=settings.operator_tenant,
        webhooks=Webhooks(
            DeliveryStore(database),
            SecretStore(database),
            Listeners(settings.webhook_allow),
            token_bytes,
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(migrate, url)
        yield
        await run_in_threadpool(tracer.close, TRACES_SECONDS)
        resources.doorbell.close()
        resources.jobs.close()

    app = FastAPI(
        title="Secateur",
        summary="Pruning as a service for diffusion language models",
        version=openapi.version(),
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=described.operation_id,
        lifespan=lifespan,
    )
    app.state.resources = resources
    app.state.waiting = Waiting(
        Watcher(resources.jobs.versions),
        Places(settings.max_waiting, settings.max_waiting_per_tenant),
    )
    told = metrics.Metrics(resources.jobs.figures, resources.clock, settings.metrics_token)
    metrics.install(app, told)
    tracer = open_tracer("secateur-api")
    observed.install(app, told.http, tracer, lambda: uuid.uuid4().hex)
    access = Access(resources.keys, resources.clock, always=not loopback)
    pace = Pace(_configured("SECATEUR_BROKER_URL", settings.broker_url), resources.clock)
    limiter = Limiter.of(settings, pace)
    refusals = Refusals(limiter, resources.jobs, resources.keys, resources.clock)
    app.add_middleware(RateHeaders)
    app.add_middleware(Guard, keys_demanded=access.demanded, allowed_hosts=settings.allowed_hosts)
    for router in ROUTERS:
        app.include_router(router)
    routes = [route for router in ROUTERS for route in router.routes]
    problems.install(app, routes)
    auth.install(app, access, limiter, refusals)
    dashboard.mount_static(app)
    described.install(app, routes)
    return app


def _configured(name: str, value: str | None) -> str:
    if not value:
        raise BadRequest(
            f"{name} is not set.",
            remedy="Set it, or use `secateur serve`, which needs no configuration.",
        )
    return value
