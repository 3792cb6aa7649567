"""Parsed JSON as a model, with JSON's own types."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

DEPTH: Final = 32
"""How deep whole numbers are looked for; no model of ours nests half as deep."""


def from_json(model: type[Model], data: Mapping[str, Any]) -> Model:
    """`data` as a `model`, in which neither "5" nor true is a number, as the model's JSON schema says.

    Raises:
        ValidationError: a field is missing, unknown, of another type or out of bounds.
    """
    # By way of JSON, in which a list can be a tuple and a text a date; of Python's types none could.
    return model.model_validate_json(json.dumps(_whole(data)), strict=True)


def _whole(data: Any, depth: int = DEPTH) -> Any:
    """`data` with 5 for 5.0: JSON has one kind of number, and some languages write no other.

    What lies deeper than any model reaches is left as it is, for the model to refuse.
    """
    if depth and isinstance(data, Mapping):
        return {key: _whole(value, depth - 1) for key, value in data.items()}
    if depth and isinstance(data, list | tuple):
        return [_whole(value, depth - 1) for value in data]
    exact = isinstance(data, float) and abs(data) < 2**53 and data.is_integer()
    return int(data) if exact else data
