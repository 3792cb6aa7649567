"""From a report, as whatever JSON it turned out to be, to a row: nothing in it can be relied on."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from core.comparison.document import RecipeCells, Row, Value
from core.recipes import METHODS, Recipe
from core.report.metrics import Document, at
from core.report.schema import Objective

LARGEST: Final = 1e100
"""No measurement is beyond it, and arithmetic on what is would overflow."""
MOST_TEXT: Final = 300
"""Characters of a name: what is longer was written by nobody who meant well."""


@dataclass(frozen=True, slots=True)
class Source:
    """A report under a name; what is known of its job, and why it is missing, where it is."""

    name: str
    report: Document
    note: str | None = None


def parsed(data: bytes) -> Document | None:
    """The report in `data`; None where that is no JSON object."""
    try:
        report = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def text_at(report: Document, *paths: str) -> str | None:
    """The first text at one of `paths`, without what could break a line or a database."""
    for path in paths:
        found = at(path)(report)
        if isinstance(found, str) and found:
            return "".join(c if c.isprintable() else " " for c in found[:MOST_TEXT])
    return None


def number_at(report: Document, path: str) -> float | None:
    """The finite number at `path`."""
    found = at(path)(report)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        value = float(found)
    except OverflowError:
        return None
    if not math.isfinite(value) or abs(value) > LARGEST:
        return None
    return 0.0 if abs(value) < 1 / LARGEST else value


def value_at(report: Document, path: str, error: str) -> Value | None:
    value, stderr = number_at(report, path), number_at(report, error)
    if value is None:
        return None
    return Value(value=value, stderr=None if stderr is None or stderr < 0 else stderr)


def row_of(source: Source, number: int, label: str) -> Row:
    """All that a comparison shows of one report."""
    report = source.report
    sinks = {
        name: value_at(report, f"sinks.{name}.mean", f"sinks.{name}.stderr")
        for name in ("transient_share", "temporal_variance", "temporal_variance_relative")
    }
    parts: dict[str, Any] = {
        "model": text_at(report, "model.source", "job.model.source"),
        "revision": text_at(report, "model.revision"),
        "family": text_at(report, "model.family"),
        "method": text_at(report, "job.method"),
        "pattern": text_at(report, "job.pattern"),
        "asked_sparsity": number_at(report, "job.sparsity"),
        "sparsity": number_at(report, "sparsity.overall"),
        "objective": objective_of(report),
        "dense": value_at(report, "quality.nelbo.dense", "quality.nelbo.dense_stderr"),
        "pruned": value_at(report, "quality.nelbo.pruned", "quality.nelbo.pruned_stderr"),
        "difference": value_at(report, "quality.nelbo.difference", "quality.nelbo.stderr"),
        "agreement": value_at(report, "quality.agreement.top1", "quality.agreement.stderr"),
        "seconds": number_at(report, "actual.seconds"),
        "peak_bytes": number_at(report, "actual.peak_bytes"),
        **sinks,
    }
    return Row(
        number=number,
        name=source.name[:MOST_TEXT],
        label=label,
        note=source.note,
        recipe=recipe_of(report),
        missing=[words for name, words in NAMES.items() if parts[name] is None],
        **parts,
    )


NAMES: Final[Mapping[str, str]] = {
    "model": "model",
    "revision": "model revision",
    "family": "family",
    "method": "method",
    "pattern": "pattern",
    "sparsity": "sparsity",
    "dense": "loss of the dense model",
    "pruned": "loss of the pruned model",
    "difference": "difference in loss",
    "agreement": "agreement",
    "seconds": "time",
    "peak_bytes": "peak memory",
    "transient_share": "transient share",
    "temporal_variance": "temporal variance",
    "temporal_variance_relative": "relative temporal variance",
}
"""How a part of a row is called where it is missing."""


def objective_of(report: Document) -> Objective | None:
    """Reports of the first versions, which knew only bounds, do not say it."""
    found = text_at(report, "quality.objective")
    known: tuple[Objective, ...] = get_args(Objective)
    has_loss = number_at(report, "quality.nelbo.pruned") is not None
    return next((one for one in known if one == found), "nelbo" if has_loss and not found else None)


def recipe_of(report: Document) -> RecipeCells:
    """As the report has it; of a job without one, what its method and its overrides say."""
    cells = {name: text_at(report, f"recipe.{name}") for name in RecipeCells.model_fields}
    if any(cells.values()):
        return RecipeCells(**cells)
    method = text_at(report, "job.method")
    rows: dict[str, Recipe] = {str(name): row for name, row in METHODS.items()}
    own = rows.get(method or "")
    asked = {name: text_at(report, f"job.recipe.{name}") for name in RecipeCells.model_fields}
    if own is None:
        return RecipeCells(**asked)
    given = {"inputs": own.inputs, "order": own.order, "sinks": own.sinks}
    merged = {name: asked[name] or value for name, value in given.items()}
    return RecipeCells(score=own.score, allocation=asked["allocation"], **merged)
