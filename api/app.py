"""The API, wired together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import artifacts, catalog, dashboard, health, jobs, openapi, problems
from api.dependencies import Resources
from api.doorbell import Doorbell
from api.guards import Guard
from core.errors import BadRequest
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.settings import Settings
from core.sources import Allowed
from core.store.urls import open_store


def create_app(settings: Settings) -> FastAPI:
    """The application; its database is brought up to date when it starts.

    Raises:
        BadRequest: the database, the broker or the object store is not configured.
    """
    database = _configured("SECATEUR_DATABASE_URL", settings.database_url)
    resources = Resources(
        jobs=JobStore.open(database),
        store=open_store(_configured("SECATEUR_STORE_URL", settings.store_url)),
        doorbell=Doorbell(_configured("SECATEUR_BROKER_URL", settings.broker_url)),
        clock=lambda: datetime.now(UTC),
        allowed=Allowed(settings.model_roots, settings.source_buckets),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(migrate, database)
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
    app.add_middleware(Guard)
    parts = (jobs.router, artifacts.router, catalog.router, health.router, dashboard.router)
    for part in parts:
        app.include_router(part)
    problems.install(app, [route for part in parts for route in part.routes])
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
