"""A sweep from what was typed."""

import json
from collections.abc import Sequence
from typing import Any

from core.errors import BadRequest


def sweep_data(
    base: dict[str, Any], grid: Sequence[str], preset: str | None, name: str
) -> dict[str, Any]:
    """The sweep as JSON would have it; checked later, where it is used. Raises BadRequest."""
    paths: dict[str, list[Any]] = {}
    for given in grid:
        path, equals, values = given.partition("=")
        if not equals or not path:
            raise BadRequest(
                f"{given!r} is not PATH=VALUES.", remedy="Write: --grid sparsity=0.5,0.75"
            )
        if path in paths:
            raise BadRequest(
                f"--grid {path} was given twice.", remedy="Write all its values in one."
            )
        paths[path] = values_of(values)
    sweep: dict[str, Any] = {"base": base, "grid": paths, "name": name}
    return sweep if preset is None else {**sweep, "preset": preset}


def values_of(text: str) -> list[Any]:
    """A JSON list, or values with commas between them, each JSON where it is that, else text."""
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        return whole
    return [_value(part) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
