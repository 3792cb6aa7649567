"""Plots with one point or bar a block."""

import math
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from core.report import words
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.reading import Readable
from core.report.schema import AnyReport, LayerSinks, Mean


def whole_ticks(axes: Axes, values: list[int]) -> None:
    """Ticks on whole numbers only, also where there are fewer values than ticks."""
    if len(values) <= 6:
        axes.set_xticks(values)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def block_plots(report: AnyReport | Readable) -> list[Plot]:
    """What differs from block to block; nothing where nothing does or nothing is known."""
    if report.sinks is None:
        return [plot for plot in [_allocation(report)] if plot is not None]
    plots = [
        _block_plot(
            report.sinks.per_layer,
            lambda layer: layer.spatial_variance,
            name="spatial-variance",
            title="How unevenly attention is spread, by block",
            quantity="spatial variance",
            caption="Variance over positions of the share of attention that each receives, averaged"
            " over timesteps. Higher: fewer positions take more. Bars: ± one standard error over"
            " samples.",
        ),
        _block_plot(
            report.sinks.per_layer,
            lambda layer: layer.temporal_variance_relative,
            name="temporal-variance",
            title="How far sinks drift, by block",
            quantity="temporal variance",
            caption="Variance over timesteps of the sinks' centroid, as a share of the length"
            " (squared). Higher: sinks move more. Bars: ± one standard error over samples.",
        )
        if len(report.sinks.timesteps) > 1
        else None,
        _allocation(report),
    ]
    return [plot for plot in plots if plot is not None]


def _allocation(report: AnyReport | Readable) -> Plot | None:
    """Each block's share where an allocation handed them out. Bars against a line, and hatched where
    they exceed it, so that no colour is needed."""
    if report.sparsity is None or not report.sparsity.blocks:
        return None
    shares, overall = np.array(report.sparsity.blocks), report.sparsity.overall

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.0)
        axes = figure.subplots()
        blocks, above = np.arange(len(shares)), shares > overall
        for chosen, color, hatch in ((above, ACCENT, "///"), (~above, SECOND, "")):
            axes.bar(blocks[chosen], shares[chosen], 0.72, color=color, hatch=hatch)
        axes.axhline(overall, color=mpl.rcParams["text.color"], linestyle="--", linewidth=1.2)
        axes.set_xlim(-0.5, len(shares) - 0.5)
        axes.set_ylim(0, min(1.0, 1.15 * max(float(shares.max()), overall)))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("block (0 is next to the input)")
        axes.set_ylabel("share removed")
        whole_ticks(axes, list(range(len(shares))))
        quiet(axes)
        return figure

    return Plot(
        name="allocation",
        title="What each block lost",
        caption=f"Share of each block's weights that was to go. Dashed: {words.percent(overall)}, what"
        " every block would lose if all lost alike; hatched blocks lost more.",
        draw=draw,
        wide=True,
    )


def _block_plot(
    layers: list[LayerSinks],
    value: Callable[[LayerSinks], Mean],
    *,
    name: str,
    title: str,
    quantity: str,
    caption: str,
) -> Plot | None:
    known = [(layer.layer, value(layer)) for layer in layers]
    points = [(block, v.mean, v.stderr or 0.0) for block, v in known if v.mean is not None]
    if not points:
        return None
    blocks, means, errors = (np.array(column) for column in zip(*points, strict=True))
    largest = float(means.max())
    exponent = math.floor(math.log10(largest)) if largest > 0 else 0
    unit = f" (10$^{{{exponent}}}$)" if exponent else ""

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.0)
        axes = figure.subplots()
        scale, crowded = 10.0**-exponent, len(points) > 24
        axes.errorbar(
            blocks, means * scale, errors * scale,
            color=SECOND, marker="o", linewidth=1.3, elinewidth=1.0,
            markersize=2 if crowded else 4, capsize=0 if crowded else 2.5,
        )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.set_xlabel("block (0 is next to the input)")
        axes.set_ylabel(quantity + unit)
        whole_ticks(axes, list(range(len(layers))))
        quiet(axes)
        return figure

    missing = len(layers) - len(points)
    note = f" {words.plural(missing, 'block')} without sinks left out." if missing else ""
    return Plot(name=name, title=title, caption=caption + note, draw=draw, wide=False)
