"""What pruning took from each head: beside another method, and as a map of where the two disagree."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.report.figures import COLORS, Plot, new_figure
from core.report.heatmaps import Array
from core.report.quality_parts import Baseline
from core.report.reading import Readable
from core.report.schema import AnyReport

SIGNED = "RdBu_r"
"""Red above nought, blue below; told apart by the colour-blind, and by signs in greyscale."""
MANY = 200  # cells: above it a sign in each would be a smear
SMALLEST = 0.0005  # of the weights: a change that rounds to nothing gets no sign


def head_plots(report: AnyReport | Readable) -> list[Plot]:
    """Maps of heads by blocks; none where no other method was run beside the job's own."""
    quality = report.quality
    if quality is None or quality.baseline is None:
        return []
    return [_change(quality.baseline), _disagreement(quality.baseline)]


def _change(baseline: Baseline) -> Plot:
    values = np.array(baseline.heads_sparsity_change)

    def draw(width: float) -> Figure:
        figure = new_figure(width, _height(values))
        axes = figure.subplots()
        most = max(float(np.abs(values).max()), SMALLEST)
        image = axes.imshow(
            100 * values, cmap=SIGNED, norm=TwoSlopeNorm(0, -100 * most, 100 * most),
            aspect="auto", interpolation="none",
        )  # fmt: skip
        _signs(axes, values, most)
        _axes(axes, values)
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.7, aspect=40, pad=0.03)
        bar.set_label(f"share removed, minus that of {baseline.method} (percentage points)")
        return figure

    return Plot(
        name="head-change",
        title=f"What each head lost, beside {baseline.method}",
        caption="Red with a plus: this job removed more of the head; blue with a minus: less. A head's"
        " weights are its rows of q, its columns of o, and its part of k and v.",
        draw=draw,
        wide=False,
    )


def _disagreement(baseline: Baseline) -> Plot:
    values = np.array(baseline.heads)

    def draw(width: float) -> Figure:
        figure = new_figure(width, _height(values))
        axes = figure.subplots()
        image = axes.imshow(100 * values, cmap=COLORS, vmin=0, aspect="auto", interpolation="none")
        _axes(axes, values)
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.7, aspect=40, pad=0.03)
        bar.set_label("removed by only one of the two, of what either removed (%)")
        return figure

    return Plot(
        name="head-disagreement",
        title=f"Where the masks disagree with {baseline.method}'s",
        caption="0 %: both removed the same weights of the head. 100 %: they have none in common.",
        draw=draw,
        wide=False,
    )


def _height(values: Array) -> float:
    return min(6.5, max(3.2, 1.8 + 0.22 * len(values)))


def _axes(axes: Axes, values: Array) -> None:
    axes.set_xlabel("head")
    axes.set_ylabel("block (0 is next to the input)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.set_xlim(-0.5, values.shape[1] - 0.5)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.spines[:].set_visible(False)


def _signs(axes: Axes, values: Array, most: float) -> None:
    """A plus or a minus in each cell, so that the map needs no colour."""
    if values.size > MANY:
        return
    for (block, head), value in np.ndenumerate(values):
        if abs(value) >= SMALLEST:
            shade = "white" if abs(value) > 0.6 * most else "black"
            axes.text(head, block, "+" if value > 0 else "\N{MINUS SIGN}", color=shade,
                      ha="center", va="center", fontsize=9)  # fmt: skip
