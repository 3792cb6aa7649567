"""The API's description as a fuzzer reads it: where a server would look outside, with what is there."""

from copy import deepcopy
from typing import Any, Final

# A word of any kind is refused as a source or an address, and nothing behind that refusal would be met.
_KNOWN: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("ModelRef", "source"): {"type": "string", "enum": ["example:kjv-dlm"]},
    ("ModelRef", "revision"): {"type": "string", "enum": ["main"]},
    ("Calibration", "source"): {"type": "string", "enum": ["builtin:plain-text"]},
    ("Output", "push"): {"type": "null"},
    ("Webhook", "url"): {"type": "string", "enum": ["https://hooks.example.com/"]},
    ("JobSpec", "pattern"): {"type": "string", "enum": ["unstructured", "2:4"]},
    # Any object may be a base, and any value part of a grid: nearly none of them makes jobs.
    ("SweepSpec", "base"): {"$ref": "#/components/schemas/JobSpec"},
    ("SweepSpec", "preset"): {"type": "null"},
    ("SweepSpec", "grid"): {
        "type": "object",
        "required": ["calibration.seed"],
        "properties": {
            "calibration.seed": {
                "type": "array",
                "minItems": 1,
                "maxItems": 2,
                "uniqueItems": True,
                "items": {"type": "integer", "minimum": 0, "maximum": 9},
            }
        },
        "additionalProperties": False,
    },
}


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """`document`, changed in place. What is left of it is a part of what the server takes."""
    for (schema, field), known in _KNOWN.items():
        document["components"]["schemas"][schema]["properties"][field] = known
    for item in document["paths"].values():
        for operation in item.values():
            fields = _body(operation).get("schema", {}).get("properties", {})
            if "url" in fields:
                fields["url"] = _KNOWN["Webhook", "url"]
    return document


def keyless_form(document: dict[str, Any]) -> dict[str, Any]:
    """A copy for a server that never had a key: nothing in it demands one."""
    copy = deepcopy(document)
    for item in copy["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    return copy


def takes_a_spec(operation: dict[str, Any]) -> bool:
    """One job's, or many jobs'."""
    names = ("JobSpec", "SweepSpec")
    return _body(operation).get("schema") in [{"$ref": f"#/components/schemas/{n}"} for n in names]


def has_a_cursor(operation: dict[str, Any]) -> bool:
    return any(
        parameter.get("name") == "after" and parameter["schema"].get("type") == "string"
        for parameter in operation["parameters"]
    )


def _body(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    found: dict[str, Any] = content.get("application/json", {})
    return found
