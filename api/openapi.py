"""What the OpenAPI document says beside the routes: its texts, and the examples.

`api.described` puts it together.
"""

import json
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, Final

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION: Final = """\
Submit a checkpoint and a recipe, watch the job, download the pruned checkpoint and its report.

Every error is an RFC 9457 problem (`application/problem+json`) with a stable `code` and a `remedy`.
Lists are `{data, has_more, next}`; pass `next` as `after` for the following page. Query parameters
that a route does not know are refused.

Once the server has had an API key, every route under `/v1` wants one: `Authorization: Bearer sec_…`, made
with `secateur keys create`. A job of another tenant is 404.

Every answer has an `X-Request-ID`: the request's own (1 to 64 letters, digits and `._:-`), else a new one. The
server's log lines have it, too.
"""

TAGS: Final = [
    {"name": "jobs", "description": "Submit, watch, cancel, retry and delete pruning jobs."},
    {"name": "artifacts", "description": "What a succeeded job left: checkpoint and report."},
    {
        "name": "sweeps",
        "description": "Many jobs at once from a grid, and their results side by side.",
    },
    {"name": "webhooks", "description": "Signed messages about jobs, and what became of each."},
    {"name": "catalog", "description": "Methods, model families and example models."},
    {"name": "workers", "description": "Who carries jobs out."},
    {"name": "administration", "description": "Keys, quotas, usage and the audit log."},
    {"name": "health", "description": "For load balancers and people."},
]

JOB_ID: Final = "job_0123456789abcdefghjkmnpq"
SPEC: Final[dict[str, Any]] = {
    "model": {"source": "example:kjv-dlm"},
    "method": "sink-wanda",
    "sparsity": 0.5,
    "calibration": {"samples": 64, "sequence_length": 256},
    "metadata": {"team": "search"},
}
JOB: Final[dict[str, Any]] = {
    "id": JOB_ID,
    "state": "running",
    "phase": "analysing",
    "progress": 0.42,
    "message": "sample 27 of 64",
    "eta_seconds": 31.0,
    "attempt": 1,
    "epoch": 1,
    "created_at": "2026-11-02T09:00:00Z",
    "started_at": "2026-11-02T09:00:01Z",
    "finished_at": None,
    "expired_at": None,
    "error": None,
    "plan": {
        "peak_bytes": 18_200_000_000,
        "budget_bytes": 24_000_000_000,
        "least_bytes": 17_100_000_000,
        "group": 4,
        "flops": 2.1e16,
        "seconds": 1840.0,
    },
    "attempts": [
        {
            "number": 1,
            "epoch": 1,
            "worker": "gpu-3:4711",
            "started_at": "2026-11-02T09:00:01Z",
            "ended_at": None,
            "outcome": None,
            "reason": "",
        }
    ],
    "spec": SPEC,
    "metadata": {"team": "search"},
    "priority": 0,
    "sweep_id": None,
    "version": 7,
}
LISTED: Final[dict[str, Any]] = {**JOB, "attempts": None}
"""As lists show a job."""
EVENT: Final[dict[str, Any]] = {
    "id": 4,
    "created_at": "2026-11-02T09:00:20Z",
    "level": "info",
    "type": "progress",
    "message": "sample 27 of 64",
    "data": {"phase": "analysing", "progress": 0.42},
}
RETRIED: Final[dict[str, Any]] = {
    **JOB,
    "state": "queued",
    "phase": None,
    "progress": 0.0,
    "message": "queued again",
    "eta_seconds": None,
    "started_at": None,
    "version": 12,
}
_SHA256: Final = '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"'
ARTIFACT: Final[dict[str, Any]] = {
    "name": "model/config.json",
    "bytes": 1290,
    "sha256": _SHA256.strip('"'),
    "media_type": "application/json",
    "url": f"/v1/jobs/{JOB_ID}/artifacts/model/config.json",
}
WORKER: Final[dict[str, Any]] = {
    "id": "gpu-3:4711",
    "host": "gpu-3",
    "device": "cuda",
    "gpus": [{"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 85_520_809_984}],
    "versions": {"python": "3.12.8", "secateur": "0.1.0", "torch": "2.13.0"},
    "started_at": "2026-11-02T08:00:00Z",
    "last_seen": "2026-11-02T09:00:15Z",
    "state": "online",
    "busy": True,
    "job": JOB_ID,
}
_OK: Final = {"ok": True, "why": ""}
READY: Final = {"ready": True, "checks": {"database": _OK, "broker": _OK, "store": _OK}}
NOT_READY: Final = {
    "ready": False,
    "checks": {
        "database": _OK,
        "broker": {"ok": False, "why": "the broker does not answer: Connection refused."},
        "store": _OK,
    },
}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _request_header(name: str, description: str, value: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": schema,
        "example": value,
    }


ACCEPTED_HEADERS: Final = {
    "Location": _header("the job"),
    "Retry-After": _header("seconds after which it makes sense to look"),
    "Idempotent-Replayed": _header("`true` where an earlier request with this key made the job"),
}
NOT_MODIFIED: Final[Responses] = {304: {"description": "Nothing changed since If-None-Match"}}

STREAMED: Final = (
    "retry: 2000\n\n"
    f"event: progress\ndata: {json.dumps(EVENT)}\nid: 4\n\n"
    ": ping\n\n"
    'event: end\ndata: {"state": "succeeded"}\n\n'
)
EVENTS: Final[Responses] = {
    200: {
        "description": "Events: a page of them, or the stream",
        "content": {
            "application/json": {"example": {"data": [EVENT], "has_more": False, "next": "4"}},
            "text/event-stream": {"schema": {"type": "string"}, "example": STREAMED},
        },
    },
    204: {"description": "A stream has ended before: nothing comes after Last-Event-ID"},
}

SPEC_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/JobSpec"},
                "examples": {
                    "an example model": {"value": SPEC},
                    "the least there can be": {
                        "value": {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}
                    },
                },
            }
        },
    }
}
METADATA_FILTER: Final[dict[str, Any]] = {
    # Also what lets these names through where unknown query parameters are refused.
    "x-query-prefixes": ["metadata."],
    "parameters": [
        {
            "name": "metadata.KEY",
            "in": "query",
            "required": False,
            "description": "Only jobs whose metadata has this value under KEY.",
            "schema": {"type": "string"},
        }
    ],
}
_BYTES: Final = {
    "*/*": {
        "schema": {},  # bytes of any type, JSON among them
        "example": '{"model_type": "llada", "d_model": 4096}',
    }
}
_FILE_HEADERS: Final = {
    "ETag": _header("the file's SHA-256 in quotes"),
    "Content-Disposition": _header("the file's name"),
    "Accept-Ranges": _header("`bytes`: it can be had in parts"),
}
_PART_HEADERS: Final = {
    **_FILE_HEADERS,
    "Content-Range": _header("which bytes of how many, as in `bytes 0-1023/1290`"),
}
FILE: Final[Responses] = {
    200: {"description": "The whole file", "content": _BYTES, "headers": _FILE_HEADERS},
    206: {"description": "The range asked for", "content": _BYTES, "headers": _PART_HEADERS},
    **NOT_MODIFIED,
    307: {
        "description": "Where the object store gives the file, for 15 minutes",
        "headers": {"Location": _header("a link that needs no key")},
    },
}
FILE_REQUEST: Final[dict[str, Any]] = {
    "parameters": [
        _request_header("Range", "the part to send; one range of bytes", "bytes=0-1023"),
        _request_header("If-Range", "an ETag: the part of this file, else the whole", _SHA256),
        _request_header("If-Match", "an ETag: this file or 412, and never a redirection", _SHA256),
    ]
}
REPORT: Final[Responses] = {
    200: {
        "description": "The report",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"schema_version": 1, "sparsity": {"overall": 0.5}},
            },
            "text/html": {
                "schema": {"type": "string"},
                "example": "<!doctype html><title>Pruning report</title>…",
            },
        },
        "headers": {**_FILE_HEADERS, "Vary": _header("`Accept`: the two are different files")},
    },
    206: FILE[206],
    **NOT_MODIFIED,
    307: {
        "description": "For a browser's address bar: the page, beside the files it links to",
        "headers": {"Location": _header("the artifact")},
    },
}


def example(status: int, value: object, headers: dict[str, Any] | None = None) -> Responses:
    """An OpenAPI response with one example."""
    response: dict[str, Any] = {"content": {"application/json": {"example": value}}}
    return {status: response | ({"headers": headers} if headers else {})}


def version() -> str:
    """The installed version; a checkout that was never installed has none."""
    try:
        return installed_version("secateur")
    except PackageNotFoundError:
        return "0+unknown"
