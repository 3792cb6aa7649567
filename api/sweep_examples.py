"""What the OpenAPI document shows of sweeps."""

from typing import Any, Final

from api.openapi import JOB_ID

SWEEP_ID: Final = "swp_0123456789abcdefghjkmnpq"
POSTED: Final[dict[str, Any]] = {
    "base": {
        "model": {"source": "example:kjv-dlm"},
        "calibration": {"samples": 64, "sequence_length": 256},
    },
    "grid": {"method": ["wanda", "sink-wanda"], "sparsity": [0.5, 0.75]},
    "name": "Wanda and its sink-aware form",
    "metadata": {"team": "search"},
}
ABLATION: Final[dict[str, Any]] = {
    "base": {"model": {"source": "example:kjv-dlm"}, "method": "sparsegpt"},
    "preset": "ablation",
    "grid": {"sparsity": [0.5]},
}
_CELLS: Final = [
    ("wanda", 0.5, JOB_ID, "succeeded"),
    ("wanda", 0.75, "job_fedcba9876543210zyxwvuts", "running"),
    ("sink-wanda", 0.5, "job_00112233445566778899aabb", "queued"),
    ("sink-wanda", 0.75, "job_bbaa99887766554433221100", "queued"),
]
SWEEP: Final[dict[str, Any]] = {
    "id": SWEEP_ID,
    "name": POSTED["name"],
    "state": "running",
    "children": 4,
    "counts": {
        "queued": 2,
        "running": 1,
        "cancelling": 0,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "deleted": 0,
    },
    "created_at": "2026-11-02T09:00:00Z",
    "finished_at": None,
    "metadata": {"team": "search"},
    "spec": {"base": POSTED["base"], "grid": POSTED["grid"], "preset": None},
    "cells": [
        {
            "number": number,
            "values": {"method": method, "sparsity": sparsity},
            "job": job,
            "state": state,
        }
        for number, (method, sparsity, job, state) in enumerate(_CELLS, 1)
    ],
}
LISTED: Final[dict[str, Any]] = {**SWEEP, "cells": None}
DRY: Final[dict[str, Any]] = {
    "children": 2,
    "flops": 3.7e12,
    "seconds": 186.2,
    "output_bytes": 29_240_000,
    "peak_bytes": 1_166_309_888,
    "fits": True,
    "warnings": [],
    "cells": [
        {
            "number": number,
            "values": {"sparsity": sparsity},
            "flops": 1.85e12,
            "seconds": 93.1,
            "output_bytes": 14_620_000,
            "peak_bytes": 1_166_309_888,
            "fits": True,
        }
        for number, sparsity in enumerate((0.5, 0.75), 1)
    ],
}
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SweepSpec"},
                "examples": {
                    "two methods at two sparsities": {"value": POSTED},
                    "what sinks contribute to SparseGPT": {"value": ABLATION},
                },
            }
        },
    }
}
