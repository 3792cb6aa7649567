"""Reads a `report.json` that may be damaged, cut short, or of another version: what can be read is
shown, and what cannot is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from core.report.schema import AnalysisReport, Report

Kind = Literal["pruning", "analysis"]

_NOTHING: tuple[Any, ...] = (None, [], {})
"""What may stand for a part that cannot be read, where the part's type allows it."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A report of which parts may be missing, under the names of a whole one."""

    kind: Kind
    parts: Mapping[str, Any]
    """Every field of a report of this kind; None where it is missing."""
    missing: tuple[str, ...] = ()
    """What could not be read, and why."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.parts[name]
        except KeyError:
            raise AttributeError(name) from None


def read(document: Any) -> Readable:
    """Whatever of `document`, JSON as parsed, is a report."""
    kind: Kind = "pruning"
    if isinstance(document, Mapping) and document.get("kind") == "analysis":
        kind = "analysis"
    fields = (Report if kind == "pruning" else AnalysisReport).model_fields
    parts: dict[str, Any] = {}
    missing: list[str] = []
    if not isinstance(document, Mapping):
        return Readable(kind, dict.fromkeys(fields), ("report.json is no JSON object",))
    for name, info in fields.items():
        if name in document:
            adapter: TypeAdapter[Any] = TypeAdapter(info.annotation or Any)
            parts[name], lost = _salvaged(adapter, document[name])
            missing += [f"{name}{path}: {why}" for path, why in lost]
        elif info.is_required():
            parts[name] = None
            missing.append(f"{name}: not in the report")
        else:
            parts[name] = info.get_default(call_default_factory=True)
    unknown = sorted(str(name) for name in set(document) - set(fields))
    missing += [f"{name}: not known to this version" for name in unknown[:20]]
    return Readable(kind, parts, tuple(missing))


def _salvaged(adapter: TypeAdapter[Any], value: Any) -> tuple[Any, list[tuple[str, str]]]:
    """`value` as the adapter's type, without those of its keys that do not fit if the rest stands
    without them, else None; and (path, reason) of each loss."""
    lost: list[tuple[str, str]] = []
    while True:
        errors = _errors(adapter, value)
        if not errors:
            return adapter.validate_python(value), lost
        where, why = errors[0]
        lost.append(("".join(f".{step}" for step in where), why))
        mended = _mended(adapter, value, where)
        if mended is None:
            return None, lost
        value = mended


def _errors(adapter: TypeAdapter[Any], value: Any) -> list[tuple[tuple[int | str, ...], str]]:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return [(each["loc"], each["msg"]) for each in error.errors()]
    return []


def _mended(adapter: TypeAdapter[Any], value: Any, where: tuple[int | str, ...]) -> Any:
    """`value` with what lies at its key `where[0]` left out or empty, whichever the type allows."""
    if not where or not isinstance(value, Mapping):
        return None
    for trial in _trials(value, where[0]):
        if all(place[:1] != where[:1] for place, _ in _errors(adapter, trial)):
            return trial
    return None


def _trials(value: Mapping[Any, Any], key: int | str) -> Iterator[dict[Any, Any]]:
    yield {name: each for name, each in value.items() if name != key}
    for nothing in _NOTHING:
        yield {**value, key: nothing}
