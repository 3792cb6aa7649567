"""How every plot is drawn and turned into bytes: one look, no randomness, no dates."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1c2431"  # dark on the PNG's white; in the SVG replaced by the page's own text colour
ACCENT = "#d9730d"
SECOND = "#2f7fb8"
COLORS = "viridis"
WIDE, NARROW = 10.2, 5.0
"""Figure widths in inches: the page's whole column, and half of it, which is also a telephone."""

Draw = Callable[[float], Figure]
"""Draws the plot for a width in inches, with rcParams set."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot yet to be drawn. `wide` ones are also drawn narrow, for small screens."""

    name: str
    title: str
    caption: str
    draw: Draw
    wide: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn plot: SVG for the page by width, PNG for everything else."""

    name: str
    title: str
    caption: str
    svg: str
    """For a page of HTML, in the page's own colour of text."""
    narrow_svg: str | None
    file: str
    """The same as a file of its own, dark on white."""
    png: bytes


def picture(plot: Plot) -> Picture:
    """Draw `plot`. Laying out costs more than drawing, so SVG and PNG come from one figure."""
    with _look():
        figure = _laid_out(plot, WIDE if plot.wide else NARROW)
        narrow = _laid_out(plot, NARROW) if plot.wide else None
        return Picture(
            name=plot.name,
            title=plot.title,
            caption=plot.caption,
            svg=_svg(figure, f"{plot.name}-w"),
            narrow_svg=None if narrow is None else _svg(narrow, f"{plot.name}-n"),
            file=_svg_file(figure),
            png=_png(figure),
        )


def new_figure(width: float, height: float) -> Figure:
    """A figure outside of pyplot: nothing global holds it, so nothing needs closing."""
    return Figure(figsize=(width, height), layout="constrained")


def quiet(axes: Axes) -> None:
    """Leave only the two axes that carry numbers, and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)


def _laid_out(plot: Plot, width: float) -> Figure:
    figure = plot.draw(width)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


_NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _svg_file(figure: Figure) -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", facecolor="white", metadata=_NOTHING)
    return sink.getvalue()


def _svg(figure: Figure, prefix: str) -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", transparent=True, metadata=_NOTHING)
    text = sink.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Several pictures share the page, and with it one space of ids.
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    # The page decides the size; what remains is the view box.
    return re.sub(
        r'(<svg [^>]*?)width="[^"]*" ',
        r"\1",
        re.sub(r' height="[^"]*pt"', "", text, count=1),
        count=1,
    )


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return sink.getvalue()


@contextmanager
def _look() -> Iterator[None]:
    """Everything that a matplotlibrc of the machine could change is set here."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": "secateur",
                "svg.fonttype": "path",
                "font.family": "DejaVu Sans",
                "font.size": 9.5,
                "axes.titlesize": 10,
                "axes.titlelocation": "left",
                "axes.labelsize": 9.5,
                **dict.fromkeys(
                    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color",
                     "ytick.color", "grid.color", "axes.titlecolor"),
                    INK,
                ),
                "patch.edgecolor": INK,
            }
        )  # fmt: skip
        yield
