"""A comparison as an answer: JSON, or one self-contained page for a client that prefers `text/html`."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from api.answers import tag_of, tagged
from api.negotiation import preferred
from api.openapi import Responses
from api.problems import NotAcceptable
from api.ranges import matches
from core.comparison.document import Comparison
from core.comparison.page import page
from core.comparison.reading import parsed
from core.errors import ArtifactNotFound
from core.report.metrics import Document
from core.result import REPORT
from core.store.base import ObjectStore
from core.store.manifest import MANIFEST

_KINDS: Final = ("application/json", "text/html")
_AT_ONCE: Final = 8
_MOST_BYTES: Final = 64 << 20
"""Of a report. That of a model with a thousand experts has some megabytes."""
_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

ROW: Final[dict[str, Any]] = {
    "number": 1,
    "name": "job_0123456789abcdefghjkmnpq",
    "label": "wanda",
    "note": None,
    "model": "example:kjv-dlm",
    "revision": "sha256:86ed49e76835fdcd532805168e24922d674a2b5a9aba8984eb31dae26fc8dc70",
    "family": "llada",
    "method": "wanda",
    "recipe": {
        "score": "wanda",
        "inputs": "clean",
        "order": "sequential",
        "sinks": "keep",
        "allocation": "uniform",
    },
    "pattern": "unstructured",
    "asked_sparsity": 0.5,
    "sparsity": 0.5,
    "objective": "nelbo",
    "dense": {"value": 2.0113, "stderr": 0.0412},
    "pruned": {"value": 2.1532, "stderr": 0.0431},
    "difference": {"value": 0.1419, "stderr": 0.0061},
    "agreement": {"value": 0.871, "stderr": 0.006},
    "seconds": 41.7,
    "peak_bytes": 790_000_000.0,
    "transient_share": {"value": 0.62, "stderr": 0.02},
    "temporal_variance": {"value": 311.2, "stderr": 20.4},
    "temporal_variance_relative": {"value": 0.0047, "stderr": 0.0003},
    "missing": [],
}
OTHER: Final[dict[str, Any]] = {
    **ROW,
    "number": 2,
    "name": "job_fedcba9876543210zyxwvuts",
    "label": "sink-wanda",
    "method": "sink-wanda",
    "recipe": {
        "score": "wanda",
        "inputs": "noised",
        "order": "one-shot",
        "sinks": "discount-all",
        "allocation": "uniform",
    },
    "pruned": {"value": 2.1217, "stderr": 0.0427},
    "difference": {"value": 0.1104, "stderr": 0.0058},
    "agreement": {"value": 0.883, "stderr": 0.005},
    "seconds": 44.2,
}
EXAMPLE: Final[dict[str, Any]] = {
    "schema_version": 1,
    "comparable": True,
    "differs": [],
    "warnings": [],
    "rows": [ROW, OTHER],
}
ANSWERS: Final[Responses] = {
    200: {
        "description": "The comparison",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Comparison"},
                "example": EXAMPLE,
            },
            "text/html": {
                "schema": {"type": "string"},
                "example": "<!doctype html><title>Comparison</title>…",
            },
        },
        "headers": {
            "Vary": {
                "description": "`Accept`: the two are different answers",
                "schema": {"type": "string"},
            }
        },
    },
    304: {"description": "Nothing changed since If-None-Match"},
}


def wanted_kind(request: Request) -> str:
    """Raises NotAcceptable where the client takes neither."""
    kind = preferred(request.headers.get("accept"), _KINDS)
    if kind is None:
        raise NotAcceptable(
            "the comparison comes as application/json or text/html.",
            remedy="Send one of them in Accept, or leave it out.",
        )
    return kind


def answer(request: Request, kind: str, comparison: Comparison, title: str) -> Response:
    """`comparison` as the client wants it, or 304 if it has it."""
    if kind == "application/json":
        response = tagged(request, comparison)
    else:
        content = page(comparison, title).encode()
        tag = tag_of(content)
        headers = {
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            # Names in it are strangers': it must not act as a page of this server.
            "Content-Security-Policy": _POLICY,
        }
        if matches(request.headers.get("if-none-match", ""), tag, weak=True):
            response = Response(status_code=304, headers=headers)
        else:
            response = Response(content, media_type="text/html; charset=utf-8", headers=headers)
    response.headers["Vary"] = "Accept"
    return response


def reports(store: ObjectStore, manifest_keys: list[str]) -> list[Document | None]:
    """The reports beside the manifests; None for one that is gone or cannot be read. Raises StoreError."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda key: _report(store, key), manifest_keys))


def _report(store: ObjectStore, manifest_key: str) -> Document | None:
    key = manifest_key.removesuffix(MANIFEST) + REPORT
    try:
        if store.info(key).bytes > _MOST_BYTES:
            return None
        return parsed(store.read_bytes(key))
    except ArtifactNotFound:
        return None
