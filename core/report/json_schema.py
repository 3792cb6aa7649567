"""The JSON Schema of `report.json`, for those who read it with other tools. Free of numerics."""

from typing import Any, Final

from pydantic import TypeAdapter

from core.report.schema import AnyReport

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Of both kinds of report, which `kind` tells apart. The same version gives the same document."""
    adapter: TypeAdapter[AnyReport] = TypeAdapter(AnyReport)
    return {
        "$schema": DIALECT,
        "title": "Secateur report",
        "description": "What a run measured: report/report.json of its result. Version 1: new parts may"
        " be added, none is removed or changes its meaning.",
        **adapter.json_schema(mode="serialization"),
    }
