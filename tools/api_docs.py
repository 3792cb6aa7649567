"""docs/api.md from the OpenAPI document: `make api-docs` writes it, `--check` only compares.

The same document gives the same bytes, whatever version is installed.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from api.app import create_app
from api.codes import CODES
from api.described import operations
from api.problems import MEDIA_TYPE, status_of
from api.run_codes import RUNS
from core.settings import Settings

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "api.md"
COMMAND: Final = "make api-docs"
MADE: Final = f"""\
Made from the OpenAPI document by `{COMMAND}`. A running server has the document at `/openapi.json`, and for
people at `/docs`.
"""


def document() -> dict[str, Any]:
    """The document as a server with the settings' defaults serves it."""
    with TemporaryDirectory() as folder:
        settings = Settings(
            database_url=f"sqlite:///{folder}/jobs.db",
            store_url=Path(folder).as_uri(),
            broker_url="redis://127.0.0.1:1/0",
        )
        return create_app(settings).openapi()


def page(api: dict[str, Any]) -> str:
    """All of docs/api.md."""
    parts = [
        "# The API\n",
        MADE,
        api["info"]["description"],
        "## Common headers\n",
        _common_headers(api),
        "## Common problems\n",
        _common_problems(api),
    ]
    for tag in api["tags"]:
        parts += [f"## {tag['name'].capitalize()}\n", f"{tag['description']}\n"]
        for path, method, operation in operations(api):
            if tag["name"] in operation["tags"]:
                parts.append("\n".join(_operation(api, path, method, operation)))
    parts += ["## All codes\n", _all_codes(api)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _resolved(api: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        _, *names = part["$ref"].split("/")
        part = api
        for name in names:
            part = part[name]
    return part


def _operation(
    api: dict[str, Any], path: str, method: str, operation: dict[str, Any]
) -> Iterator[str]:
    yield f"### {operation['summary']}\n"
    yield f"`{method.upper()} {path}`" + "".join(
        f" · scope `{scope}`" for needs in operation.get("security", ()) for scope in needs["API key"]
    ) + "\n"  # fmt: skip
    yield f"{operation['description']}\n"
    rows = [
        _parameter(_resolved(api, given))
        for given in operation["parameters"]
        if "$ref" not in given
    ]
    if rows:
        yield _table(("parameter", "in", "type", ""), rows)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield f"Body{_schema_name(content)}:\n"
        yield from _examples(api, content)
    for status, response in operation["responses"].items():
        yield from _success(api, status, response)
    rows = list(_own_problems(api, operation))
    if rows:
        yield "Problems of its own:\n"
        yield _table(("status", "code", "meaning", "what to do"), rows)


def _parameter(given: dict[str, Any]) -> tuple[str, ...]:
    needed = " (required)" if given.get("required") else ""
    return f"`{given['name']}`", given["in"] + needed, _type(given["schema"]), given["description"]


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in schema and abs(schema[key]) < 2**31
    ]
    default = (
        [f"default {json.dumps(schema['default'])}"] if schema.get("default") is not None else []
    )
    return ", ".join([str(schema.get("format", schema["type"])), *bounds, *default])


def _schema_name(content: dict[str, Any]) -> str:
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f" (`{name}`)" if name else ""


def _success(api: dict[str, Any], status: str, response: dict[str, Any]) -> Iterator[str]:
    contents = {kind: c for kind, c in response.get("content", {}).items() if kind != MEDIA_TYPE}
    if int(status) >= 400 and not contents:
        return
    yield f"**{status}** {response['description']}\n"
    rows = [
        (f"`{name}`", header["description"])
        for name, header in response["headers"].items()
        if "$ref" not in header
    ]
    if rows:
        yield _table(("header", ""), rows)
    for kind, content in contents.items():
        yield f"`{kind}`{_schema_name(content)}\n"
        yield from _examples(api, content)


def _examples(api: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    named = {
        name: _resolved(api, each)["value"] for name, each in content.get("examples", {}).items()
    }
    for name, value in named.items() if named else [("", content["example"])]:
        if name:
            yield f"{name[0].upper()}{name[1:]}:\n"
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        yield f"```{'' if isinstance(value, str) else 'json'}\n{text.rstrip()}\n```\n"


def _codes(operation: dict[str, Any]) -> Iterator[str]:
    for response in operation["responses"].values():
        yield from response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})


def _shared(api: dict[str, Any]) -> set[str]:
    """Codes that every operation with a key may answer with: they are told of once."""
    keyed = [set(_codes(o)) for _, _, o in operations(api) if "security" in o]
    return set.intersection(*keyed)


def _own_problems(api: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    shared = _shared(api)
    for code in _codes(operation):
        if code not in shared:
            yield _code_row(api, code)


def _code_row(api: dict[str, Any], code: str) -> tuple[str, ...]:
    example = api["components"]["examples"][code]
    remedy = example["value"].get("remedy", "")
    return str(example["value"]["status"]), f"[`{code}`](#all-codes)", example["summary"], remedy


def _common_headers(api: dict[str, Any]) -> str:
    sent = [
        (f"`{given['name']}`", "request", given["description"])
        for given in api["components"]["parameters"].values()
    ]
    got = [
        (f"`{name}`", "answer", header["description"])
        for name, header in api["components"]["headers"].items()
    ]
    return _table(("header", "of", ""), sent + got)


def _common_problems(api: dict[str, Any]) -> str:
    shared = _shared(api)
    rows = [_code_row(api, code) for code in api["components"]["examples"] if code in shared]
    return (
        "Every operation under `/v1` may answer with these, and they are not repeated below.\n\n"
        + _table(("status", "code", "meaning", "what to do"), sorted(rows, key=lambda row: row[0]))
        + "\nAn example:\n\n```json\n"
        + json.dumps(api["components"]["examples"]["invalid-spec"]["value"], indent=2)
        + "\n```\n"
    )


def _all_codes(api: dict[str, Any]) -> str:
    used = {code for _, _, operation in operations(api) for code in _codes(operation)}
    rows = [
        (f"`{kind.code}`", str(status_of(kind)), row.meaning, row.sample.remedy)
        for kind, row in CODES.items()
        if kind not in RUNS or kind.code in used
    ]
    runs = [(f"`{kind.code}`", *told) for kind, told in _runs()]
    return (
        "A code is stable; `detail` and `remedy` are sentences for people and may change. An unknown code is to"
        " be treated as its status says.\n\n"
        + _table(("code", "status", "meaning", "what to do"), sorted(rows))
        + "\nThe `error.code` of a job that failed is one of these, too:\n\n"
        + _table(("code", "meaning", "what to do"), sorted(runs))
    )


def _runs() -> Iterator[tuple[Any, tuple[str, str]]]:
    for kind, (meaning, sample) in RUNS.items():
        yield kind, (meaning, sample.remedy)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: list[str]) -> int:
    """Write the page; with `--check`, say whether it is up to date."""
    made = page(document())
    if arguments == ["--check"]:
        up_to_date = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print("docs/api.md is up to date" if up_to_date else f"docs/api.md is not: run `{COMMAND}`")
        return 0 if up_to_date else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
