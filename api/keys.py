"""API keys over HTTP: for administrators, within their tenant; the operator's reach everywhere."""

from datetime import timedelta
from secrets import token_bytes
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import openapi
from api.auth import ADMINISTERS, caller_of
from api.bodies import PostedObject
from api.dependencies import Administered, By, Keys, Now
from api.forms import body_of, parse
from api.problems import documented
from core.jobs.credentials import ApiKey, CreatedKey, Scope
from core.key_errors import KeyNotFound
from core.limit_errors import LastAdminKey, NoKeysYet, OperatorOnly

TENANT_QUERY: Final = Query(
    max_length=64,
    pattern=r"^[^\x00]*$",
    description="only this tenant's; another than one's own is for the operator",
)
EXAMPLE: Final[dict[str, Any]] = {
    "id": "key_0123456789ab",
    "tenant": "search",
    "name": "CI",
    "prefix": "sec_0123456789ab",
    "scopes": ["jobs:read", "jobs:write"],
    "created_at": "2026-11-02T09:00:00Z",
    "expires_at": "2027-01-31T09:00:00Z",
    "revoked_at": None,
    "last_used_at": None,
}

router = APIRouter(
    prefix="/v1/keys",
    tags=["administration"],
    dependencies=[ADMINISTERS],
    responses=documented(OperatorOnly),
)


class KeyRequest(BaseModel):
    """What a new key is to be."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="what it is for: a person, a program",
    )
    scopes: list[Scope] = Field(["jobs:read", "jobs:write"], min_length=1, max_length=3)
    tenant: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="one's own if left out; another one is for the operator",
    )
    expires_days: int | None = Field(None, ge=1, le=36500, description="for ever if left out")


class KeyList(BaseModel):
    data: list[ApiKey]


@router.get(
    "",
    summary="List API keys",
    responses={
        **openapi.example(200, {"data": [EXAMPLE]}),
    },
)
def list_keys(
    keys: Keys, reach: Administered, tenant: Annotated[str | None, TENANT_QUERY] = None
) -> KeyList:
    """Those there are and were, newest first. Nothing shown here opens anything."""
    return KeyList(data=keys.list(reach.within(tenant)))


@router.post(
    "",
    status_code=201,
    summary="Make an API key",
    response_description="The only answer that ever holds the key.",
    responses={
        **openapi.example(201, {**EXAMPLE, "key": f"sec_0123456789ab_{'0' * 64}"}),
        **documented(NoKeysYet),
    },
    openapi_extra=body_of(KeyRequest, {"name": "CI", "expires_days": 90}),
)
def create_key(
    *,
    posted: PostedObject,
    request: Request,
    keys: Keys,
    reach: Administered,
    now: Now,
    by: By,
    response: Response,
) -> CreatedKey:
    """Only its SHA-256 is kept, so it cannot be shown again."""
    if caller_of(request).key is None:
        raise NoKeysYet
    wanted = parse(KeyRequest, posted)
    days = wanted.expires_days
    made = keys.create(
        reach.within(wanted.tenant or reach.tenant) or reach.tenant,
        wanted.name,
        wanted.scopes,
        now,
        token_bytes,
        expires_at=None if days is None else now + timedelta(days=days),
        by=by,
    )
    response.headers["Cache-Control"] = "no-store"
    return CreatedKey(**made.key.model_dump(), key=made.text)


@router.delete(
    "/{key_id}",
    summary="Revoke an API key",
    responses={
        **openapi.example(200, {**EXAMPLE, "revoked_at": "2026-11-03T10:00:00Z"}),
        **documented(KeyNotFound, LastAdminKey),
    },
)
def revoke_key(
    *,
    key_id: Annotated[str, Path(description="as the list has it", examples=[EXAMPLE["id"]])],
    keys: Keys,
    reach: Administered,
    now: Now,
    by: By,
    force: Annotated[
        bool, Query(description="also the tenant's last key with the scope admin")
    ] = False,
) -> ApiKey:
    """For good; repeating does no harm. Servers that have just seen the key stop within seconds."""
    if not key_id.isprintable():
        raise KeyNotFound(key_id[:100])
    return keys.revoke(key_id, now, within=reach.within(None), spare_last_admin=not force, by=by)
