"""Parsed JSON as a model, with JSON's own types."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def from_json(model: type[Model], data: Mapping[str, Any]) -> Model:
    """`data` as a `model`, in which neither "5" nor true is a number, as the model's JSON schema says.

    Raises:
        ValidationError: a field is missing, unknown, of another type or out of bounds.
    """
    # By way of JSON, in which a list can be a tuple and a text a date; of Python's types none could.
    return model.model_validate_json(json.dumps(data), strict=True)
