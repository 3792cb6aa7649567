"""What all operations have in common, put into the OpenAPI document in one place.

Routes say what only they answer. Which problems come from keys, limits, guards and the query, and which
headers stand on which answers, follows from what an operation is: the tables below.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.auth import REFUSALS
from api.codes import CODES
from api.observed import REQUEST_ID
from api.problems import (
    MEDIA_TYPE,
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    Problem,
    UnsupportedMediaType,
    WrongHost,
    documented,
    problem_of,
    title_of,
)
from core.comparison.document import Comparison
from core.errors import InvalidSpec, NotFound, SecateurError, StoreUnavailable
from core.spec import JobSpec
from core.sweep_spec import SweepSpec

Operation = dict[str, Any]
Response = dict[str, Any]

_CHANGES: Final = ("post", "put", "patch", "delete")


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Every operation with its path and its method, in the document's order."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _always(_path: str, _method: str, _operation: Operation) -> bool:
    return True


def _keyed(_path: str, _method: str, operation: Operation) -> bool:
    return "security" in operation


def _versioned(path: str, _method: str, _operation: Operation) -> bool:
    return path.startswith("/v1/")


def _changing(_path: str, method: str, _operation: Operation) -> bool:
    return method in _CHANGES


def _with_body(_path: str, _method: str, operation: Operation) -> bool:
    return "requestBody" in operation


def _with_a_name_in_its_path(path: str, _method: str, _operation: Operation) -> bool:
    return "{" in path


COMMON: Final[
    tuple[tuple[Callable[[str, str, Operation], bool], tuple[type[SecateurError], ...]], ...]
] = (
    (_always, (WrongHost, CrossSite, SecateurError)),
    (_keyed, (*REFUSALS, StoreUnavailable)),
    (_versioned, (InvalidSpec,)),  # query parameters that a route does not have are refused
    (_changing, (BodyTooLarge, UnsupportedMediaType)),  # also of a body that nobody asked for
    (_with_body, (MalformedBody,)),
    (_with_a_name_in_its_path, (NotFound,)),  # a name with a slash is another path
)
"""Which problems every operation of a kind may answer with."""


def _header(description: str, example: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}, "example": example}


HEADERS: Final[dict[str, dict[str, Any]]] = {
    REQUEST_ID: {
        **_header("the request's id, the client's own where it sent a good one", "4f1c2a9b"),
        "required": True,
    },
    "RateLimit-Policy": _header(
        "where requests are counted: how many (`q`) may come in how many seconds (`w`)",
        '"reads";q=600;w=60',
    ),
    "RateLimit": _header(
        "where requests are counted: how many more (`r`) may come in how many seconds (`t`)",
        '"reads";r=598;t=21',
    ),
    "Retry-After": {
        **_header("seconds after which it makes sense to ask again", "5", "integer"),
        "required": True,
    },
    "WWW-Authenticate": _header(
        "what is missing, in the words of RFC 6750", 'Bearer realm="secateur"'
    ),
    "ETag": {**_header("names this answer; send it back in If-None-Match", '"7"')},
}
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    REQUEST_ID: {
        "name": REQUEST_ID,
        "in": "header",
        "description": "1 to 64 letters, digits and `._:-`, to find the request in logs by;"
        " anything else is replaced",
        "schema": {"type": "string"},
        "example": "4f1c2a9b",
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "an `ETag`: answered with 304 while nothing has changed",
        "schema": {"type": "string"},
        "example": '"7"',
    },
}


def operation_id(route: APIRoute) -> str:
    """The name of the function: short, and the same whatever the path."""
    return route.name


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Let `app`, whose routes are `routes`, serve the completed document."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = complete(_derived(app, routes))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _derived(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """What FastAPI makes of the routes, and the models that no signature names."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        tags=app.openapi_tags,
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (JobSpec, SweepSpec, Comparison, Problem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            _restore_nulls(document["paths"][route.path_format], route)
    return document


def _restore_nulls(item: dict[str, Operation], route: APIRoute) -> None:
    """Examples as their routes have them: FastAPI takes every null for something left out."""
    for method in route.methods or ():
        for status, response in route.responses.items():
            for kind, content in response.get("content", {}).items():
                if "example" in content:
                    written = item[method.lower()]["responses"][str(status)]["content"][kind]
                    written["example"] = content["example"]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with what all operations have in common; it is changed in place."""
    components = document["components"]
    components["headers"], components["parameters"] = HEADERS, PARAMETERS
    components["examples"] = {
        kind.code: {"summary": row.meaning, "value": _problem(row.sample)}
        for kind, row in CODES.items()
    }
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)  # FastAPI's, which no route here answers with
    for path, method, operation in operations(document):
        _add_problems(path, method, operation)
        _add_parameters(operation)
        for status, response in operation["responses"].items():
            _add_headers(operation, status, response)
    return document


def _problem(sample: SecateurError) -> dict[str, Any]:
    return problem_of(sample).model_dump(mode="json", exclude_none=True)


def _add_problems(path: str, method: str, operation: Operation) -> None:
    responses: dict[str, Response] = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    kinds = [kind for applies, some in COMMON if applies(path, method, operation) for kind in some]
    for number, common in documented(*kinds).items():
        response = responses.setdefault(str(number), common)
        content = response["content"].setdefault(MEDIA_TYPE, common["content"][MEDIA_TYPE])
        content["examples"] |= common["content"][MEDIA_TYPE]["examples"]
        if list(response["content"]) == [MEDIA_TYPE]:
            response["description"] = " or ".join(map(title_of, content["examples"]))
    operation["responses"] = dict(sorted(responses.items()))


def _add_parameters(operation: Operation) -> None:
    names = [REQUEST_ID, *(["If-None-Match"] if "304" in operation["responses"] else [])]
    given = operation.setdefault("parameters", [])
    for parameter in given:
        _leave_out_null(parameter["schema"])
    given += [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _leave_out_null(schema: dict[str, Any]) -> None:
    """A parameter that is not there is left out: no text in a query or a header says null."""
    some = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(some) == 1:
        del schema["anyOf"]
        schema |= some[0]


def _add_headers(operation: Operation, status: str, response: Response) -> None:
    names = [REQUEST_ID]
    if "security" in operation and status not in ("401", "421"):  # refused before they are counted
        names += ["RateLimit-Policy", "RateLimit"]
    if status == "429" or (status == "503" and MEDIA_TYPE in response.get("content", {})):
        names.append("Retry-After")
    if status == "401" or (status == "403" and "security" in operation):
        names.append("WWW-Authenticate")
    if "304" in operation["responses"] and status in ("200", "206", "304"):
        names.append("ETag")
    common = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    response["headers"] = common | response.get("headers", {})
