"""Request bodies: JSON as RFC 8259 has it, and nothing that Python would let through besides."""

import json
import math
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, Request

from api.guards import MAX_BODY, too_large
from api.problems import MalformedBody
from core.strict_json import first_twice

_REMEDY: Final = "Send one JSON object in UTF-8."


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises:
        MalformedBody: not UTF-8, not JSON, not an object, too deep, a repeated key, a number no
            double can hold, or half of a surrogate pair, which no database could store.
    """
    try:
        data = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
        json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise MalformedBody("the JSON is nested too deeply.", remedy=_REMEDY) from None
    except UnicodeError:
        raise MalformedBody("the body is not valid UTF-8 text.", remedy=_REMEDY) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(f"not JSON: {error.msg} at {where}.", remedy=_REMEDY) from None
    if not isinstance(data, dict):
        raise MalformedBody("the body is not a JSON object.", remedy=_REMEDY)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = first_twice(name for name, _ in pairs) or ""
        raise MalformedBody(f"the key {twice[:100]!r} appears twice.", remedy=_REMEDY)
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON.", remedy="Send finite numbers.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedBody(f"{digits[:40]} is too large.", remedy="Send finite numbers.")
    return value


def _bounded(digits: str) -> int:
    # Longer than any field allows; int() itself gives up at 4300 digits.
    if len(digits) > 40:
        raise MalformedBody(f"{digits[:40]}… is too large.", remedy="Send smaller numbers.")
    return int(digits)


async def posted_object(request: Request) -> dict[str, Any]:
    """The posted JSON object, read no further than the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise too_large()
    return parse_object(bytes(body))


PostedObject = Annotated[dict[str, Any], Depends(posted_object)]
