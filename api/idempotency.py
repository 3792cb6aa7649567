"""The Idempotency-Key header."""

from typing import Annotated

from fastapi import Depends, Header, Request

from core.errors import InvalidSpec


async def _key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="visible ASCII; for a day the same request under the same key is answered"
            " with the same job",
            examples=["b0a9e2c4-5d1f-4f0e-9d7c-1f2e3d4c5b6a"],
        ),
    ] = None,
) -> str | None:
    """Raises InvalidSpec where it is given twice: neither may be ignored."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        fields = [{"field": "idempotency-key", "message": "given more than once"}]
        raise InvalidSpec("The request is not valid.", fields=fields)
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_key)]
