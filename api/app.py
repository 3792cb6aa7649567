"""The API, wired together."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import (
    artifacts,
    audit,
    auth,
    catalog,
    comparisons,
    dashboard,
    described,
    estimates,
    events,
    health,
    job_changes,
    jobs,
    keys,
    metrics,
    observed,
    openapi,
    polling,
    problems,
    sessions,
    sweeps,
    tenants,
    webhooks,
    workers,
)
from api.access import Access
from api.dependencies import Resources
from api.guards import Guard
from api.limiter import Limiter, RateHeaders
from api.pace import Pace
from api.places import Places
from api.refusals import Refusals
from api.resources import configured, open_resources
from api.versions import Versions
from api.waiting import Waiting, sweeps_watched
from api.watcher import Watcher
from core.jobs.migrate import migrate
from core.settings import Settings
from core.telemetry.tracing import open_tracer

ROUTERS: Final = (
    jobs.router,
    polling.router,
    job_changes.router,
    events.router,
    artifacts.router,
    comparisons.router,
    sweeps.router,
    estimates.router,
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
    url = configured("SECATEUR_DATABASE_URL", settings.database_url)
    resources = open_resources(settings)
    tracer = open_tracer("secateur-api")

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
        Watcher(sweeps_watched(resources.jobs.versions, resources.jobs.sweep_signatures)),
        Versions(resources.jobs.versions_for),
        Places(settings.max_waiting, settings.max_waiting_per_tenant),
    )
    told = metrics.Metrics(resources.jobs.figures, resources.clock, settings.metrics_token)
    metrics.install(app, told)
    observed.install(app, told.http, tracer, lambda: uuid.uuid4().hex)
    for router in ROUTERS:
        app.include_router(router)
    routes = [route for router in ROUTERS for route in router.routes]
    problems.install(app, routes)
    _guard(app, settings, resources, loopback=loopback)
    dashboard.mount_static(app)
    described.install(app, routes)
    return app


def _guard(app: FastAPI, settings: Settings, resources: Resources, *, loopback: bool) -> None:
    """Who may ask, how often, and under which names of this server."""
    access = Access(resources.keys, resources.clock, always=not loopback)
    pace = Pace(configured("SECATEUR_BROKER_URL", settings.broker_url), resources.clock)
    limiter = Limiter.of(settings, pace)
    app.add_middleware(RateHeaders)
    app.add_middleware(Guard, keys_demanded=access.demanded, allowed_hosts=settings.allowed_hosts)
    refusals = Refusals(limiter, resources.jobs, resources.keys, resources.clock)
    auth.install(app, access, limiter, refusals)
