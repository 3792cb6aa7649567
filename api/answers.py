"""JSON answers with an entity tag, so that whoever polls gets 304 while nothing changed."""

import hashlib

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.ranges import matches


def tag_of(content: bytes) -> str:
    """An entity tag that is another one for other bytes."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def tagged(request: Request, body: BaseModel, etag: str | None = None) -> Response:
    """`body` as JSON under `etag` (a hash of the bytes if None), or 304 if the client has it."""
    content = body.model_dump_json().encode()
    tag = etag or tag_of(content)
    if matches(request.headers.get("if-none-match", ""), tag, weak=True):
        return not_modified(tag)
    return Response(content, media_type="application/json", headers=_headers(tag))


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers=_headers(etag))


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}
