"""Errors as RFC 9457 problems: one table from error classes to HTTP status codes."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from core.destinations.errors import DestinationRefused
from core.errors import (
    AccessDenied,
    ArtifactsExpired,
    BadRequest,
    Conflict,
    CorruptObject,
    DataError,
    HubUnavailable,
    InvalidSpec,
    ModelError,
    NotAvailable,
    NotFound,
    ResourceError,
    SecateurError,
    SourceError,
    SourceRefused,
    StoreError,
    StoreUnavailable,
)
from core.estimates.errors import EstimatesBusy, SourceTooSlow
from core.idempotency_errors import IdempotencyKeyReused
from core.key_errors import KeyMissing, ScopeMissing
from core.limit_errors import LimitReached
from core.telemetry import fields
from core.waiting_errors import NoPlaceToWait, TooManyWaiting
from core.webhooks.errors import WebhookRefused

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class MalformedBody(BadRequest):
    """The body is not JSON, or holds what JSON does not have (NaN, a lone surrogate)."""

    code = "malformed-body"


class BodyTooLarge(BadRequest):
    code = "body-too-large"


class UnsupportedMediaType(BadRequest):
    code = "unsupported-media-type"


class NotAcceptable(BadRequest):
    code = "not-acceptable"


class MethodNotAllowed(BadRequest):
    code = "method-not-allowed"


class WrongHost(BadRequest):
    """The Host header names a machine this server is not: the mark of DNS rebinding."""

    code = "wrong-host"


class CrossSite(BadRequest):
    """A page of another site sent the request from a visitor's browser."""

    code = "cross-site"


class RangeNotSatisfiable(BadRequest):
    code = "range-not-satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the range lies outside the artifact, which has {size} bytes.",
            remedy="Ask for bytes that exist, or leave Range out.",
        )
        self.size = size


class PreconditionFailed(Conflict):
    code = "precondition-failed"


STATUS: Final[Mapping[type[SecateurError], int]] = {
    SecateurError: 500,
    BadRequest: 400,
    InvalidSpec: 422,
    NotAvailable: 422,
    SourceRefused: 422,
    DestinationRefused: 422,
    WebhookRefused: 422,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    NotAcceptable: 406,
    MethodNotAllowed: 405,
    WrongHost: 421,
    CrossSite: 403,
    RangeNotSatisfiable: 416,
    AccessDenied: 401,
    ScopeMissing: 403,
    LimitReached: 429,
    NotFound: 404,
    ArtifactsExpired: 410,
    Conflict: 409,
    PreconditionFailed: 412,
    ModelError: 422,
    DataError: 422,
    ResourceError: 507,
    SourceError: 503,
    HubUnavailable: 503,
    SourceTooSlow: 504,
    EstimatesBusy: 503,
    StoreError: 500,
    StoreUnavailable: 503,
    IdempotencyKeyReused: 422,
    TooManyWaiting: 429,
    NoPlaceToWait: 503,
    CorruptObject: 500,
}


class FieldProblem(BaseModel):
    field: str = Field(description="dotted path of the offending field or query parameter")
    message: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `detail` and `remedy` are for people."""

    type: str = Field(description="urn:secateur:problem:CODE")
    title: str
    status: int
    code: str
    detail: str
    remedy: str = ""
    errors: list[FieldProblem] | None = None
    instance: str | None = Field(None, description="on 5xx: the id under which the log has more")


def status_of(kind: type[SecateurError]) -> int:
    """The status of the nearest class in the table; every error has one through its root."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def problem_of(error: SecateurError) -> Problem:
    """The problem a client gets to read for `error`."""
    return Problem(
        type=f"urn:secateur:problem:{error.code}",
        title=title_of(error.code),
        status=status_of(type(error)),
        code=error.code,
        detail=error.message,
        remedy=error.remedy,
        errors=[FieldProblem(**f) for f in error.fields]
        if isinstance(error, InvalidSpec) and error.fields
        else None,
    )


def title_of(code: str) -> str:
    return code.replace("-", " ").capitalize()


def problem_response(error: SecateurError, headers: Mapping[str, str] | None = None) -> Response:
    """`error` as an answer; what is the server's own fault also goes to the log."""
    problem = problem_of(error)
    extra = dict(headers or {})
    if problem.status >= 500:
        # The request's own id, which all of its lines have.
        request_id = fields.current().get("request_id") or uuid.uuid4().hex
        problem.instance = f"urn:secateur:request:{request_id}"
        logger.error("%s: %s", problem.instance, error, exc_info=error)
    if problem.status in (429, 503):
        extra.setdefault("Retry-After", "5")
    if isinstance(error, LimitReached):
        extra["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeNotSatisfiable):
        extra["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, AccessDenied):
        extra["WWW-Authenticate"] = _challenge(error)
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **extra},
    )


def _challenge(error: AccessDenied) -> str:
    """What a 401 or 403 asks for, in the words of RFC 6750."""
    challenge = 'Bearer realm="secateur"'
    if isinstance(error, ScopeMissing):
        return f'{challenge}, error="insufficient_scope", scope="{error.scope}"'
    return challenge if isinstance(error, KeyMissing) else f'{challenge}, error="invalid_token"'


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error of `app`, whose routes are `routes`, with a problem."""

    @app.exception_handler(SecateurError)
    async def expected(_: Request, error: SecateurError) -> Response:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        fields = [
            # FastAPI puts "query" or "path" before the name.
            {"field": ".".join(str(part) for part in e["loc"][1:]), "message": str(e["msg"])}
            for e in error.errors()
        ]
        return problem_response(InvalidSpec("The request is not valid.", fields=fields))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return _method_not_allowed(request, routes)
        return problem_response(_routing_error(request, error), error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        masked = SecateurError(
            "The server failed in a way it did not foresee.",
            remedy="Search the server's log for the id in `instance`.",
        )
        masked.__cause__ = error
        # The server drops the connection after this: a client that kept it would be cut off.
        return problem_response(masked, {"Connection": "close"})


def _routing_error(request: Request, error: HTTPException) -> SecateurError:
    path = request.url.path
    if error.status_code == 404:
        return NotFound(f"there is nothing at {path}.", remedy="The API is described at /docs.")
    return BadRequest(str(error.detail)) if error.status_code < 500 else SecateurError(str(error))


def _method_not_allowed(request: Request, routes: Sequence[BaseRoute]) -> Response:
    """405 with every method the path has; Starlette names those of one route only."""
    methods = {
        method
        for route in routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    allowed = ", ".join(sorted(methods)) or "GET"
    error = MethodNotAllowed(
        f"{request.method} is not possible at {request.url.path}.",
        remedy=f"Allowed here: {allowed}.",
    )
    return problem_response(error, {"Allow": allowed})


def documented(*kinds: type[SecateurError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for the errors that only this route answers with, one example for each.

    What many routes answer with is added by `api.described`, and what the examples say is in
    `api.codes`.
    """
    by_status: dict[int, list[type[SecateurError]]] = {}
    for kind in kinds:
        by_status.setdefault(status_of(kind), []).append(kind)
    return {status: _document(group) for status, group in sorted(by_status.items())}


def _document(kinds: Sequence[type[SecateurError]]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
    description = " or ".join(title_of(kind.code) for kind in kinds)
    return {"description": description, "content": {MEDIA_TYPE: content}}
