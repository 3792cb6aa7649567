"""Reports into one comparison: rows, labels, and what to be careful about."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from core.comparison.agreeing import dense_losses_differ, differences, judged
from core.comparison.document import Comparison, Row
from core.comparison.reading import Source, row_of
from core.report.metrics import at

MOST: Final = 8
"""Reports that people compare at once. A sweep has its own limit."""
_TOLD: Final = 6  # values that differ
LABEL: Final = 44  # characters, so that a label fits beside its point


def compare(sources: Sequence[Source]) -> Comparison:
    """All of `sources`, in their order."""
    rows = [row_of(source, number, "") for number, source in enumerate(sources, 1)]
    labelled = [
        row.model_copy(update={"label": label})
        for row, label in zip(rows, labels(rows), strict=True)
    ]
    differs = list(differences(sources))
    off = not differs and dense_losses_differ(sources)
    return Comparison(
        comparable=not differs and not off,
        differs=differs,
        warnings=[
            *(f"The {each.what} differs: {_values(each.values)}." for each in differs),
            *([_OFF] if off else []),
            *_warnings(sources),
        ],
        rows=labelled,
    )


_OFF: Final = (
    "The dense model's loss differs although everything that it should depend on is the same: other"
    " software or another machine made some of the reports."
)


def _values(values: dict[str, str]) -> str:
    """`1 and 3: main, 2: other`; of many, the first few."""
    by_value: dict[str, list[str]] = {}
    for number, value in values.items():
        by_value.setdefault(value, []).append(number)
    told = [f"{_numbers(numbers)}: {value}" for value, numbers in by_value.items()]
    rest = len(told) - _TOLD
    return ", ".join(told[:_TOLD]) + (f", and {rest} more" if rest > 0 else "")


def _numbers(numbers: Sequence[str]) -> str:
    if len(numbers) > 4:
        return f"{', '.join(numbers[:3])} and {len(numbers) - 3} more"
    return " and ".join([", ".join(numbers[:-1]), numbers[-1]] if numbers[1:] else numbers)


def _warnings(sources: Sequence[Source]) -> Iterator[str]:
    """About single reports."""
    for number, source in enumerate(sources, 1):
        if source.note is not None:
            continue  # the table says it
        kind, version = at("kind")(source.report), at("schema_version")(source.report)
        if kind == "analysis":
            yield f"{number} is an analysis: nothing was pruned, so it has no loss."
        elif kind not in (None, "pruning"):
            yield f"{number} is no report of a kind that this version knows."
        if isinstance(version, int) and version > 1:
            yield f"{number} has schema version {version}, which is newer than this version: what was renamed is missing here."
    alone = judged(sources)
    if not alone:
        yield "No report has a loss: there is nothing to plot."


def labels(rows: Sequence[Row]) -> list[str]:
    """The method of each, with what else tells it from the others, in as few words as do."""
    parts = [_parts(row) for row in rows]
    # What is the same for all tells nothing.
    telling = [name for name in _ORDER if len({each[name] for each in parts}) > 1]
    found = [_joined(each, telling) for each in parts]
    counted = Counter(found)
    seen: Counter[str] = Counter()
    for place, label in enumerate(found):
        if counted[label] > 1:
            seen[label] += 1
            found[place] = f"{label} #{seen[label]}"
    return found


_ORDER: Final = ("method", "inputs", "order", "sinks", "allocation", "pattern", "model", "sparsity")


def _parts(row: Row) -> dict[str, str]:
    shown = row.sparsity if row.asked_sparsity is None else row.asked_sparsity
    return {
        "method": row.method or "unknown method",
        "inputs": row.recipe.inputs or "",
        "order": row.recipe.order or "",
        "sinks": row.recipe.sinks or "",
        "allocation": row.recipe.allocation or "",
        "pattern": row.pattern or "",
        "model": (row.model or "").rstrip("/").rpartition("/")[2],
        "sparsity": "" if shown is None else f"{shown:.3g}",
    }


def _joined(parts: dict[str, Any], telling: Sequence[str]) -> str:
    words = [parts["method"], *(parts[name] for name in telling if name != "method")]
    label = ", ".join(word for word in words if word)
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
