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
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(request.headers.get("if-none-match", ""), tag, weak=True):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)
