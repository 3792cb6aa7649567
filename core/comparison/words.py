"""The numbers of a row as a table shows them."""

from collections.abc import Sequence
from typing import Final

from core.comparison.document import Comparison, Row, Value
from core.report import words
from core.report.meanings import LOSSES as MEANINGS
from core.report.schema import Objective

DASH: Final = "–"
LOSSES: Final[dict[Objective, str]] = {name: loss.short for name, loss in MEANINGS.items()}


def loss_of(comparison: Comparison) -> str:
    """What the losses are called; reports of both kinds are called by both names."""
    kinds = dict.fromkeys(LOSSES[row.objective] for row in comparison.rows if row.objective)
    return " or ".join(kinds) or LOSSES["nelbo"]


def value_text(value: Value | None, *, signed: bool = False) -> str:
    return DASH if value is None else words.plus_minus(value.value, value.stderr, signed=signed)


def share_text(value: Value | None) -> str:
    """In percent, error included."""
    if value is None:
        return DASH
    error = None if value.stderr is None else 100 * value.stderr
    return f"{words.plus_minus(100 * value.value, error)}{words.NNBSP}%"


def columns(comparison: Comparison) -> list[str]:
    loss = loss_of(comparison)
    return [
        "removed", f"{loss} dense", f"{loss} pruned", "difference", "agreement", "time",
        "peak memory", "transient sinks", "sink drift",
    ]  # fmt: skip


def cells(row: Row) -> list[str]:
    """One text for each of `columns`; a dash for what is missing."""
    return [
        DASH if row.sparsity is None else words.percent(row.sparsity),
        value_text(row.dense),
        value_text(row.pruned),
        value_text(row.difference, signed=True),
        share_text(row.agreement),
        DASH if row.seconds is None or row.seconds < 0 else words.duration(row.seconds),
        DASH if row.peak_bytes is None or row.peak_bytes < 0 else words.data_size(row.peak_bytes),
        share_text(row.transient_share),
        value_text(row.temporal_variance),
    ]


def recipe_text(row: Row) -> str:
    """The cells of the recipe that there are."""
    recipe = row.recipe
    found = (recipe.inputs, recipe.order, recipe.sinks, recipe.allocation)
    pattern = () if row.pattern == "unstructured" else (row.pattern,)
    return ", ".join(cell for cell in (*found, *pattern) if cell)


def common(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(name, value) of what all rows have alike, so that the table need not say it again and again."""
    facts = {
        "model": {row.model for row in rows},
        "revision": {row.revision for row in rows},
        "family": {row.family for row in rows},
    }
    alike = {name: found.pop() for name, found in facts.items() if len(found) == 1}
    return [(name, value) for name, value in alike.items() if value]


def absent(rows: Sequence[Row]) -> list[tuple[int, str, str]]:
    """(number, label, what is missing) of every row with a dash in it."""
    return [
        (row.number, row.label, row.note or f"has no {', no '.join(row.missing)}")
        for row in rows
        if row.note or row.missing
    ]
