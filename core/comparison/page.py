"""A comparison as one HTML page that needs nothing beside it and no network. Same comparison, same bytes."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.comparison import plot, words
from core.comparison.document import Comparison
from core.comparison.markers import KINDS
from core.report import words as numbers

_TEMPLATES: Final = Path(__file__).parent / "templates"
_STYLES: Final = (
    Path(__file__).parents[1] / "report" / "templates" / "report.css",
    _TEMPLATES / "comparison.css",
)
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_WIDE, _NARROW = 900.0, 360.0  # pixels


def page(comparison: Comparison, title: str = "Comparison") -> str:
    """Table, plot, and what to be careful about."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"words": words, "numbers": numbers}
    # Our own style sheets and drawings; everything that came with a job stays escaped.
    style = Markup("\n".join(path.read_text(encoding="utf-8") for path in _STYLES))  # noqa: S704
    shown = plot.plotted(comparison)
    common = words.common(comparison.rows)
    return environment.get_template("comparison.html").render(
        title=title,
        policy=Markup(POLICY),  # noqa: S704 - our own words
        style=style,
        comparison=comparison,
        common=common,
        apart={"model", "revision", "family"} - {name for name, _ in common},
        columns=words.columns(comparison),
        absent=words.absent(comparison.rows),
        plotted=shown,
        drawings=_drawings(shown, name_models="model" not in dict(common)),
        caption=caption(shown),
    )


def _drawings(shown: plot.Plotted, *, name_models: bool) -> list[tuple[str, Markup]]:
    """(class, drawing), for wide and for narrow pages."""
    if not shown.points:
        return []
    sizes = {"wide": _WIDE, "narrow": _NARROW}
    return [
        (kind, Markup(plot.svg(shown, width, name_models=name_models)))  # noqa: S704
        for kind, width in sizes.items()
    ]


def caption(shown: plot.Plotted) -> str:
    """What the plot shows, and what it does not."""
    apart = len(shown.points) <= plot.LABELLED
    told = ["Lower is better.", "Bars are ± one standard error."]
    without = sum(1 for point in shown.points if point.y.stderr is None)
    if without:
        told.append(f"{numbers.plural(without, 'point')} came without one.")
    told.append(
        "Numbers are those of the table."
        if apart
        else "Each shape is a method with its recipe; lines join its points."
    )
    if shown.is_difference:
        told.append("The dashed line is the dense model.")
    if shown.left_out:
        rows = ", ".join(str(row.number) for row in shown.left_out[:20])
        more = len(shown.left_out) - 20
        told.append(f"Not shown, for want of numbers: {rows}{f' and {more} more' * (more > 0)}.")
    kinds = len(plot.groups(shown.points, apart=apart))
    if kinds > KINDS:
        told.append(f"{kinds - KINDS} further recipes are in the table only.")
    return " ".join(told)
