"""The API, wired together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import artifacts, auth, catalog, dashboard, health, jobs, openapi, problems, sessions
from api.access import Access
from api.dependencies import Resources
from api.doorbell import Doorbell
from api.guards import Guard
from core.destinations.allowed import Allowed as Destinations
from core.errors import BadRequest
from core.jobs.database import Database
from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.settings import Settings
from core.sources import Allowed
from core.store.urls import open_store

ROUTERS: Final = (
    jobs.router,
    artifacts.router,
    catalog.router,
    health.router,
    dashboard.router,
    sessions.router,
)


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
        allowed=Allowed(settings.model_roots, settings.source_buckets, settings.hub_models),
        destinations=Destinations(settings.push_destinations, store_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(migrate, url)
        yield
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
        lifespan=lifespan,
    )
    app.state.resources = resources
    access = Access(KeyStore(database), resources.clock, always=not loopback)
    app.add_middleware(Guard, keys_demanded=access.demanded, allowed_hosts=settings.allowed_hosts)
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, [route for router in ROUTERS for route in router.routes])
    auth.install(app, access)
    dashboard.mount_static(app)
    openapi.install(app)
    return app


def _configured(name: str, value: str | None) -> str:
    if not value:
        raise BadRequest(
            f"{name} is not set.",
            remedy="Set it, or use `secateur serve`, which needs no configuration.",
        )
    return value
