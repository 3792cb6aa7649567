"""What pruning costs against how much was removed, as SVG: readable without colour, and without a script."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from core.comparison.axes import Axis, axis
from core.comparison.document import Comparison, Row, Value
from core.comparison.labels import HEIGHT, Box, placed, width_of
from core.comparison.markers import KINDS, RADIUS, marker
from core.comparison.words import LOSSES

LABELLED: Final = 8
"""Points that have room for labels beside them; more are told apart by a key."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 12.0, 48.0  # pixels around the plot
_KEY_LINE: Final = 19.0
_TYPE: Final = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'


@dataclass(frozen=True, slots=True)
class Point:
    row: Row
    x: float
    """Share removed."""
    y: Value


@dataclass(frozen=True, slots=True)
class Plotted:
    """A comparison's points, and what they are of."""

    points: tuple[Point, ...]
    title: str
    unit: str
    is_difference: bool
    left_out: tuple[Row, ...]
    """Rows without a loss or a sparsity."""


def plotted(comparison: Comparison) -> Plotted:
    """The quantity that most rows have: the difference to the dense model, else the loss itself."""
    rows = comparison.rows
    losses = LOSSES[next((row.objective for row in rows if row.objective), "nelbo")]
    differences = [p for row in rows if (p := _point(row, row.difference))]
    losses_alone = [p for row in rows if (p := _point(row, row.pruned))]
    is_difference = len(differences) >= len(losses_alone)
    points = differences if is_difference else losses_alone
    shown = {point.row.number for point in points}
    return Plotted(
        points=tuple(points),
        title=f"{losses} against sparsity",
        unit=f"{losses}, pruned − dense, nats per token"
        if is_difference
        else f"{losses} of the pruned model, nats per token",
        is_difference=is_difference,
        left_out=tuple(row for row in rows if row.number not in shown),
    )


def _point(row: Row, value: Value | None) -> Point | None:
    return None if row.sparsity is None or value is None else Point(row, row.sparsity, value)


def groups(points: Sequence[Point], *, apart: bool) -> dict[str, list[Point]]:
    """Points of one kind: each alone, or all of one method and recipe, with less removed first."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(_named(point.row) if not apart else f"{point.row.number}", []).append(
            point
        )
    return {name: sorted(some, key=lambda p: (p.x, p.row.number)) for name, some in found.items()}


def _named(row: Row) -> str:
    recipe, model = row.recipe, (row.model or "").rstrip("/").rpartition("/")[2]
    pattern = "" if row.pattern == "unstructured" else row.pattern
    cells = (row.method, recipe.inputs, recipe.order, recipe.sinks, recipe.allocation, pattern)
    shown = ", ".join(cell for cell in cells if cell and cell != "uniform")
    return f"{shown} ({model})" if model else shown


def svg(shown: Plotted, width: float, *, name_models: bool = False) -> str:
    """The drawing of `shown`, which has a point at least, `width` pixels wide."""
    apart = len(shown.points) <= LABELLED
    kinds = dict(list(groups(shown.points, apart=apart).items())[:KINDS])
    names = {name: name if name_models else name.rpartition(" (")[0] or name for name in kinds}
    key = 0.0 if apart else _KEY_LINE * len(kinds) + 8
    plain = 380.0 if width > 500 else 340.0
    height = plain + key
    within = Box(_LEFT, _TOP, width - _LEFT - _RIGHT, plain - _TOP - _BOTTOM)
    across, up = _axes(shown, within)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {_TYPE}>',
        *_frame(shown, across, up, within),
    ]
    for kind, some in enumerate(kinds.values()):
        if len(some) > 1:
            way = " ".join(f"{across(p.x):.1f},{up(p.y.value):.1f}" for p in some)
            parts.append(
                f'<polyline points="{way}" fill="none" stroke="currentColor" opacity="0.35"/>'
            )
        for point in some:
            parts += _drawn(point, kind, across, up)
    if apart:
        parts += _labels(shown.points, across, up, within)
    else:
        parts += _key(list(names.values()), plain)
    return "".join([*parts, "</svg>"])


def _axes(shown: Plotted, within: Box) -> tuple[Axis, Axis]:
    ends = [p.y.value + sign * (p.y.stderr or 0.0) for p in shown.points for sign in (-1, 1)]
    if shown.is_difference:
        ends.append(0.0)
    most = 7 if within.width > 400 else 4
    across = axis([p.x for p in shown.points], within.left, within.right, most)
    return across, axis(ends, within.bottom, within.top, 7)


def _frame(shown: Plotted, across: Axis, up: Axis, within: Box) -> Iterator[str]:
    """Grid lines, numbers and the axes' names with their units."""
    left, right, bottom = within.left, within.right, within.bottom
    for tick in up.ticks:
        y = up(tick)
        zero = shown.is_difference and tick == 0
        look = 'stroke-dasharray="5 3" opacity="0.8"' if zero else 'opacity="0.16"'
        yield f'<path d="M{left:g} {y:.1f}H{right:g}" stroke="currentColor" {look}/>'
        yield f'<text x="{left - 7:g}" y="{y + 4:.1f}" text-anchor="end">{up.shown(tick)}</text>'
    percent = Axis(
        100 * across.low, 100 * across.high, left, right, tuple(100 * t for t in across.ticks)
    )
    for tick in percent.ticks:
        x = percent(tick)
        yield f'<path d="M{x:.1f} {bottom:g}v5" stroke="currentColor"/>'
        shown_tick = percent.shown(round(tick, 9))
        yield f'<text x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{shown_tick}</text>'
    yield f'<path d="M{left:g} {within.top:g}V{bottom:g}H{right:g}" fill="none" stroke="currentColor"/>'
    middle, half = (left + right) / 2, (within.top + bottom) / 2
    yield f'<text x="{middle:g}" y="{bottom + 38:g}" text-anchor="middle">weights removed, %</text>'
    unit = escape(shown.unit)
    yield f'<text transform="translate(13 {half:g}) rotate(-90)" text-anchor="middle">{unit}</text>'


def _drawn(point: Point, kind: int, across: Axis, up: Axis) -> Iterator[str]:
    x, error = across(point.x), point.y.stderr
    if error:
        low, high = up(point.y.value - error), up(point.y.value + error)
        bars = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
        yield f'<path d="{bars}" stroke="currentColor" stroke-width="1.3" fill="none"/>'
    said = f"{point.row.number}: {point.row.label}, {100 * point.x:.1f} %, {point.y.value:.4g}"
    title = f"<title>{escape(said)}{f' ± {error:.2g}' if error else ''}</title>"
    yield f'<g transform="translate({x:.1f} {up(point.y.value):.1f})">{title}{marker(kind)}</g>'


def _labels(points: Sequence[Point], across: Axis, up: Axis, within: Box) -> Iterator[str]:
    room = int((within.width / 2 - width_of("") - 2 * RADIUS) / (width_of("x") - width_of("")))
    texts = [_short(f"{point.row.number} {point.row.label}", room) for point in points]
    at = [(across(point.x), up(point.y.value)) for point in points]
    for (x, y), text, box in zip(at, texts, placed(at, texts, within, RADIUS + 2), strict=True):
        middle = box.top + HEIGHT / 2
        near = box.left > x
        side = box.left if near else box.right
        if abs(middle - y) > 2:
            yield (
                f'<path d="M{x:.1f} {y:.1f}L{side:.1f} {middle:.1f}" stroke="currentColor"'
                ' stroke-width="0.8" opacity="0.5"/>'
            )
        anchor, inset = ("start", 2) if near else ("end", -2)
        yield (
            f'<text class="label" x="{side + inset:.1f}" y="{middle + 4:.1f}"'
            f' text-anchor="{anchor}">{escape(text)}</text>'
        )


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(1, room - 1)]}…"


def _key(names: Sequence[str], top: float) -> Iterator[str]:
    for kind, name in enumerate(names):
        y = top + 8 + _KEY_LINE * kind
        yield f'<g transform="translate(22 {y:g})">{marker(kind)}</g>'
        yield f'<text class="named" x="36" y="{y + 4:g}">{escape(_short(name, 100))}</text>'
