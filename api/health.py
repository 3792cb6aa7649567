"""Whether this process lives, and whether what it depends on answers."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api import openapi
from api.dependencies import Held
from core.errors import SecateurError

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str = "ok"


class Check(BaseModel):
    ok: bool
    why: str = Field("", description="empty where ok")


class Readiness(BaseModel):
    ready: bool
    checks: dict[str, Check] = Field(description="database, broker, store")


@router.get(
    "/healthz", summary="Is the process alive?", responses=openapi.example(200, {"status": "ok"})
)
async def healthz() -> Alive:
    """Looks at nothing but itself."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can jobs be accepted and carried out?",
    responses={
        **openapi.example(200, openapi.READY),
        503: {
            "model": Readiness,
            "description": "Something does not answer",
            "content": {"application/json": {"example": openapi.NOT_READY}},
        },
    },
)
def readyz(held: Held, response: Response) -> Readiness:
    """Asks database, broker and object store, each by name."""
    checks = {
        "database": _try(held.jobs.ping),
        "broker": _try(held.doorbell.check),
        "store": _try(held.store.check),
    }
    ready = all(check.ok for check in checks.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, checks=checks)


def _try(check: Callable[[], None]) -> Check:
    try:
        check()
    except SecateurError as error:
        return Check(ok=False, why=str(error))
    return Check(ok=True)
