"""The OpenAPI document keeps its promises for every operation there is, and for every code."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from api.app import ROUTERS
from api.codes import CODES
from api.described import COMMON, operations
from api.problems import MEDIA_TYPE, STATUS, problem_of, status_of
from api.run_codes import RUNS
from core.all_errors import tree
from core.errors import SecateurError
from core.spec import parse_spec
from tools.api_docs import COMMAND, PAGE, document, page

API = document()
OPERATIONS = {f"{method} {path}": operation for path, method, operation in operations(API)}
KEYED = [name for name, operation in OPERATIONS.items() if "security" in operation]
# Reported with its own words and not with problems: what is not ready, and why.
NO_PROBLEM = {("get /readyz", "503")}
# Codes that no client of the API meets, and where they end instead.
ELSEWHERE = {
    "keys-needed": "the command line: a server that would be open to others does not start",
    "lease-lost": "a worker's log: another one has the job",
    "output-exists": "the command line",
    "gate-failed": "the command line: exit status 6",
    "metric-missing": "the command line",
    "tracker": "a worker's log: MLflow is away, and the job goes on",
    "cancelled": "the job's state",
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = API
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def problems(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Status, code and example of every problem that is documented for an operation."""
    for status, response in OPERATIONS[name]["responses"].items():
        content = response.get("content", {}).get(MEDIA_TYPE, {})
        for code, example in content.get("examples", {}).items():
            yield status, code, resolved(example)["value"]


def known_errors() -> dict[str, type[SecateurError]]:
    """The server's part of the tree: clients and tests add to it."""
    servers = ("api.", "core.", "workers.")
    return {c: kind for c, kind in tree().items() if kind.__module__.startswith(servers)}


@every_operation
def test_it_says_what_it_is_for(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"], f"{name}: give its function a docstring"
    assert set(operation["tags"]) <= {tag["name"] for tag in API["tags"]}
    assert len(operation["tags"]) == 1


def test_operations_have_short_names_of_their_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalpha() for name in names)


def test_no_schema_has_the_name_of_a_module() -> None:
    assert not [name for name in API["components"]["schemas"] if "__" in name]


@every_operation
def test_its_parameters_are_described(name: str) -> None:
    for parameter in map(resolved, OPERATIONS[name].get("parameters", [])):
        assert parameter.get("description"), f"{name}: {parameter['name']}"


@every_operation
def test_its_body_has_an_example(name: str) -> None:
    for content in OPERATIONS[name].get("requestBody", {}).get("content", {}).values():
        examples = [each["value"] for each in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples, name
        if content["schema"].get("$ref", "").endswith("/JobSpec"):
            assert all(parse_spec(example) for example in examples)


@every_operation
def test_each_success_has_an_example(name: str) -> None:
    """Of each type it comes in; what has no body needs none."""
    answers = OPERATIONS[name]["responses"]
    assert any(status.startswith("2") for status in answers)
    for status, answer in answers.items():
        for kind, content in answer.get("content", {}).items():
            if kind != MEDIA_TYPE:
                assert content.get("example"), f"{name}: {status} {kind}"


def _models() -> Iterator[tuple[str, int, Any]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                method = min(route.methods or ()).lower()
                name = f"{method} {route.path.replace(':path', '')}"
                if route.response_model is not None:
                    yield name, route.status_code or 200, route.response_model
                for status, answer in route.responses.items():
                    if "model" in answer:
                        yield name, int(status), answer["model"]


@pytest.mark.parametrize(("name", "status", "model"), list(_models()))
def test_an_example_is_what_the_model_says(name: str, status: int, model: Any) -> None:
    """It has every field, and none that there is not."""
    content = OPERATIONS[name]["responses"][str(status)]["content"]["application/json"]
    read: TypeAdapter[Any] = TypeAdapter(model)
    assert (
        read.dump_python(read.validate_python(content["example"]), mode="json")
        == (content["example"])
    )


@every_operation
def test_each_refusal_has_examples_with_its_codes(name: str) -> None:
    errors = known_errors()
    for status, code, example in problems(name):
        assert code in errors, f"{name}: no error has the code {code}"
        assert (example["code"], example["status"]) == (code, int(status)), name
        assert status_of(errors[code]) == int(status)
    documented = {status for status, _, _ in problems(name)}
    for status, answer in OPERATIONS[name]["responses"].items():
        if int(status) >= 400 and (name, status) not in NO_PROBLEM:
            assert status in documented, f"{name}: {status} has no example"
            schema = answer["content"][MEDIA_TYPE]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize("row", range(len(COMMON)))
def test_what_is_common_is_on_every_operation_of_its_kind(row: int) -> None:
    applies, kinds = COMMON[row]
    concerned = [
        name
        for path, method, operation in operations(API)
        if applies(path, method, operation)
        for name in [f"{method} {path}"]
    ]
    assert concerned
    for name in concerned:
        assert {kind.code for kind in kinds} <= {code for _, code, _ in problems(name)}, name


@pytest.mark.parametrize("name", KEYED)
def test_a_keyed_operation_names_one_scope(name: str) -> None:
    ((scheme, scopes),) = OPERATIONS[name]["security"][0].items()
    assert scheme in API["components"]["securitySchemes"]
    assert len(scopes) == 1
    assert {"401", "403", "429"} <= set(OPERATIONS[name]["responses"])


def test_all_of_v1_is_keyed_and_nothing_else() -> None:
    assert set(KEYED) == {name for name in OPERATIONS if " /v1/" in name}


@every_operation
def test_headers_stand_on_the_answers_that_have_them(name: str) -> None:
    operation = OPERATIONS[name]
    for status, answer in operation["responses"].items():
        headers = set(answer["headers"])
        assert "X-Request-ID" in headers
        if status == "429" or (status == "503" and (name, status) not in NO_PROBLEM):
            assert "Retry-After" in headers, status
        if "security" in operation and status not in ("401", "421"):
            assert {"RateLimit", "RateLimit-Policy"} <= headers, status
        if status == "401":
            assert "WWW-Authenticate" in headers
        if status == "304":
            assert "ETag" in headers & set(operation["responses"]["200"]["headers"])
            asked = {resolved(each)["name"] for each in operation["parameters"]}
            assert "If-None-Match" in asked
        if status in ("202", "307") and name in ("post /v1/jobs", "post /v1/webhooks/test"):
            assert {"Location", "Retry-After"} <= headers
    if name == "post /v1/jobs":
        assert "Idempotent-Replayed" in operation["responses"]["202"]["headers"]


def test_every_code_that_reaches_a_client_has_a_row() -> None:
    """A new error class needs one in api/codes.py or api/run_codes.py, or a place among ELSEWHERE."""
    told = {kind.code for kind in CODES}
    assert set(known_errors()) - told - set(ELSEWHERE) == set()
    assert told & set(ELSEWHERE) == set()
    assert {kind.code for kind in STATUS} <= told
    assert {code for name in OPERATIONS for _, code, _ in problems(name)} <= told


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.code)
def test_each_code_has_an_example_among_the_components(kind: type[SecateurError]) -> None:
    assert known_errors()[kind.code] is kind
    meaning, sample = CODES[kind]
    example = API["components"]["examples"][kind.code]
    assert example["summary"] == meaning
    assert example["value"] == problem_of(sample).model_dump(mode="json", exclude_none=True)
    assert meaning.endswith(".")
    assert sample.remedy or kind.code in ("not-available", "internal"), kind.code
    assert (kind in RUNS) == (kind.code in {run.code for run in RUNS})


def test_every_reference_in_the_document_resolves() -> None:
    references = {part.split('"')[0] for part in json.dumps(API).split('"$ref": "')[1:]}
    assert "#/components/schemas/JobSpec" in references
    for reference in references:
        assert resolved({"$ref": reference})


def test_the_page_is_what_the_document_says() -> None:
    written = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    assert written == page(API), f"docs/api.md is not up to date: run `{COMMAND}`"


def test_the_page_is_the_same_each_time() -> None:
    assert page(document()) == page(API)


def test_the_page_tells_of_every_operation_and_code() -> None:
    text = page(API)
    for name in OPERATIONS:
        method, path = name.split()
        assert text.count(f"\n`{method.upper()} {path}`") == 1
    for kind in CODES:
        assert f"| `{kind.code}` |" in text
