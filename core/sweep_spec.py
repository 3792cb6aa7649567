"""Many jobs asked for at once: a base, and a grid of values for some of its fields. Free of torch.

The cells are the cartesian product of the grid's values. Paths come in the order in which they are
written, those of a preset first, and the last one varies fastest: as nested loops would run.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from core.calibration_spec import Strict
from core.errors import BadRequest, DataError, InvalidSpec, ModelError, SecateurError
from core.json_models import from_json
from core.spec import JobSpec, MetadataKey, MetadataValue, field_errors, parse_spec
from core.sweep_presets import DEFAULTS, PRESETS, Preset

MOST: Final = 200
"""Cells of a sweep."""
_TOLD: Final = 5  # mistakes of one cell, so that an answer stays readable
_PATH: Final = re.compile(r"[a-z_]{1,64}(\.[\w-]{1,64}){0,8}")
_METADATA: Final = "metadata."

Values = Annotated[list[Any], Field(min_length=1, max_length=MOST)]
Path = Annotated[str, Field(min_length=1, max_length=256)]


class SweepSpec(Strict):
    """One immutable request for many jobs."""

    base: dict[str, Any] = Field(
        description="what all jobs have in common: fields of a `JobSpec`, any of which the grid may set"
    )
    grid: dict[Path, Values] = Field(
        default_factory=dict,
        max_length=16,
        description="dotted path of a field → the values it takes: every combination is a job",
    )
    preset: Preset | None = Field(
        None, description="a grid that has a name; `grid` and `base` override its paths"
    )
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")] = ""
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)


@dataclass(frozen=True, slots=True)
class Cell:
    """One job of a sweep, and what the grid says of it."""

    number: int
    """From 1."""
    values: dict[str, Any]
    """By dotted path."""
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class Planned:
    """A sweep whose cells have all been found good."""

    sweep: SweepSpec
    cells: tuple[Cell, ...]


def parse_sweep(data: Mapping[str, Any]) -> SweepSpec:
    """The sweep in `data`, of whose cells nothing is known yet. Raises InvalidSpec."""
    try:
        sweep = from_json(SweepSpec, data)
    except ValidationError as error:
        raise InvalidSpec("The sweep is not valid.", fields=field_errors(error)) from None
    against = [{"field": field, "message": why} for field, why in _objections(sweep)]
    if against:
        raise InvalidSpec("The sweep is not valid.", fields=against)
    return sweep


def planned(sweep: SweepSpec, check: Callable[[dict[str, Any]], JobSpec] = parse_spec) -> Planned:
    """All cells, each as `check` finds it.

    Raises:
        InvalidSpec: cells are not valid; `fields` names every one of them, and what is wrong there.
    """
    base = _base_of(sweep)
    found, wrong, bad = list[Cell](), list[dict[str, str]](), 0
    for number, values in enumerate(combinations(sweep), 1):
        try:
            found.append(Cell(number, values, check(filled(base, values))))
        except (BadRequest, ModelError, DataError) as error:
            wrong += _told(number, values, error)
            bad += 1
    wrong += [{"field": "cells", "message": why} for why in _collisions(found)]
    if wrong:
        raise InvalidSpec(
            f"The sweep is not valid: {bad or 'some'} of its {bad + len(found)} jobs cannot be accepted.",
            remedy="Correct them all, or take their values out of the grid; nothing was queued.",
            fields=wrong,
        )
    return Planned(sweep, tuple(found))


def grid_of(sweep: SweepSpec) -> dict[str, Sequence[Any]]:
    """The paths and their values: a preset's first, then the others, as they are written.

    A path of the grid replaces the preset's values in its place, and one that the base sets takes the
    preset's path away: what is written is stronger than what has a name.
    """
    named: dict[str, Sequence[Any]] = {}
    if sweep.preset is not None:
        named = {
            path: values
            for path, values in PRESETS[sweep.preset].items()
            if not _is_set(sweep.base, path)
        }
    return named | sweep.grid


def combinations(sweep: SweepSpec) -> Iterator[dict[str, Any]]:
    """What each cell sets, in the order of the cells."""
    grid = grid_of(sweep)
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def filled(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values at their paths.

    Raises:
        InvalidSpec: a path leads through something that has no fields.
    """
    found = dict(base)
    for path, value in values.items():
        *way, last = parts_of(path)
        place = found
        for step in way:
            inner = place.get(step, {})
            if not isinstance(inner, Mapping):
                message = f"cannot be set: {step} of the base is no object"
                raise InvalidSpec(
                    "The sweep is not valid.", fields=[{"field": path, "message": message}]
                )
            place[step] = dict(inner)  # the base is everybody's
            place = place[step]
        place[last] = value
    return found


def parts_of(path: str) -> list[str]:
    """The steps of a dotted path. A key of metadata may have dots of its own."""
    if path.startswith(_METADATA):
        return ["metadata", path.removeprefix(_METADATA)]
    return path.split(".")


def words_of(values: Mapping[str, Any]) -> str:
    """`recipe.inputs clean, sparsity 0.5`, and no more than a line."""
    text = ", ".join(f"{path} {_word(value)}" for path, value in values.items())
    return _cut(text, 200) or "the base"


def _word(value: Any) -> str:
    """Of what is large, only of which kind it is."""
    if isinstance(value, Mapping | list | tuple):
        return "{…}" if isinstance(value, Mapping) else "[…]"
    if isinstance(value, str):
        return _cut(value, 40)
    return f"{value:g}" if type(value) is float else f"{value}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _base_of(sweep: SweepSpec) -> dict[str, Any]:
    """The base with what its preset takes for granted."""
    return {**(DEFAULTS[sweep.preset] if sweep.preset else {}), **sweep.base}


def _is_set(base: Mapping[str, Any], path: str) -> bool:
    place: Any = base
    for step in parts_of(path):
        if not isinstance(place, Mapping) or place.get(step) is None:
            return False
        place = place[step]
    return True


def _objections(sweep: SweepSpec) -> Iterator[tuple[str, str]]:
    """(field, why) of what makes no grid."""
    grid = grid_of(sweep)
    for path, values in sweep.grid.items():
        if not (_PATH.fullmatch(path) or path.startswith(_METADATA)):
            yield f"grid.{path[:100]}", "is no dotted path of a job spec, such as recipe.inputs"
        if any(_alike(one, other) for n, one in enumerate(values) for other in values[:n]):
            yield f"grid.{path[:100]}", "has a value twice: two jobs would be the same"
    for path in grid:
        steps = parts_of(path)
        if any(
            len(other) < len(steps) and steps[: len(other)] == other
            for other in map(parts_of, grid)
        ):
            yield (
                f"grid.{path[:100]}",
                "lies within another path of the grid, which would replace it",
            )
    if not grid:
        yield "grid", "is empty, and there is no preset: a sweep varies something"
    count = prod(len(values) for values in grid.values())
    if count > MOST:
        yield "grid", f"makes {count} jobs; {MOST} are allowed in one sweep"


def _alike(one: Any, other: Any) -> bool:
    # JSON's true is no 1, and 1 is 1.0.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _told(number: int, values: Mapping[str, Any], error: SecateurError) -> Iterator[dict[str, str]]:
    where = words_of(values)
    fields = error.fields if isinstance(error, InvalidSpec) else []
    if not fields:
        yield {"field": f"cells.{number}", "message": f"{error} ({where})"}
    for field in fields[:_TOLD]:
        name = f"cells.{number}.{field['field']}"
        yield {"field": name, "message": f"{field['message']} ({where})"}


def _collisions(cells: Sequence[Cell]) -> Iterator[str]:
    """Results that would replace each other where they are pushed to."""
    pushed: dict[str, int] = {}
    for cell in cells:
        place = cell.spec.output.push
        if place is not None and place in pushed:
            yield f"{pushed[place]} and {cell.number} would both push to {place}: vary output.push"
            return
        if place is not None:
            pushed[place] = cell.number
