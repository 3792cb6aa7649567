"""Posted objects other than job specs: parsed by a model, refused field by field."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import InvalidSpec
from core.json_models import from_json
from core.spec import field_errors

Form = TypeVar("Form", bound=BaseModel)


def parse(form: type[Form], posted: dict[str, Any]) -> Form:
    """`posted` as a `form`. Raises InvalidSpec."""
    try:
        return from_json(form, posted)
    except ValidationError as error:
        raise InvalidSpec("The request is not valid.", fields=field_errors(error)) from None


def body_of(form: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI text of a route whose body is a `form`."""
    content = {"schema": form.model_json_schema(), "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
