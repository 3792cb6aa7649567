"""What pruning cost, by noise level and by block."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from core.report.block_plots import whole_ticks
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.quality_parts import Band, BlockError, SinksAfter
from core.report.reading import Readable
from core.report.schema import AnyReport


def quality_plots(report: AnyReport | Readable) -> list[Plot]:
    """Plots of what was measured; none of what was not."""
    quality = report.quality
    if quality is None:
        return []
    plots = []
    if len(quality.bands) > 1:
        plots.append(_bands(quality.bands, bound=quality.objective == "nelbo"))
    if quality.reconstruction:
        plots.append(_reconstruction(quality.reconstruction))
    if quality.sinks_after is not None:
        plots.append(_sinks_after(quality.sinks_after))
    return plots


def _bands(bands: list[Band], *, bound: bool) -> Plot:
    """Loss of both models above, their difference below: it is far smaller than either."""
    level = "share of the text that is masked" if bound else "part of the text"
    middle = np.array([(b.lower + b.upper) / 2 for b in bands])
    half = np.array([(b.upper - b.lower) / 2 for b in bands])

    def draw(width: float) -> Figure:
        figure = new_figure(width, 4.4)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for name, marker, color in (("dense", "s", SECOND), ("pruned", "o", ACCENT)):
            values = np.array([getattr(b, name) for b in bands])
            above.plot(middle, values, marker=marker, color=color, label=name, linewidth=1.6)
        difference = np.array([b.difference for b in bands])
        below.bar(middle, difference, 1.6 * half, color=ACCENT, alpha=0.75, hatch="//")
        below.errorbar(
            middle, difference, [b.stderr or 0.0 for b in bands],
            color=mpl.rcParams["text.color"], linestyle="", capsize=3, linewidth=1.2,
        )  # fmt: skip
        below.axhline(0, color=mpl.rcParams["text.color"], linewidth=0.8)
        above.set_ylim(bottom=0)
        above.set_ylabel("loss (nats per token)")
        below.set_ylabel("difference")
        below.set_xlabel(level)
        below.set_xlim(0, 1)
        below.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        above.legend(frameon=False, ncols=2, loc="upper left")
        above.margins(y=0.25)
        for axes in (above, below):
            quiet(axes)
        return figure

    return Plot(
        name="loss-by-timestep" if bound else "loss-by-place",
        title="At which noise level pruning costs" if bound else "Where in the text pruning costs",
        caption="Above: what both models lose in each band, as it counts in the whole. Below: their"
        " difference on the same masks, ± one standard error over samples."
        if bound
        else "Above: what both models lose in each quarter. Below: their difference, ± one standard"
        " error over samples.",
        draw=draw,
        wide=False,
    )


def _reconstruction(blocks: list[BlockError]) -> Plot:
    """How far each block's output moved: by its own loss, and with all that came before it."""

    def draw(width: float) -> Figure:
        figure = new_figure(width, 4.4)
        axes = figure.subplots()
        layers = [block.layer for block in blocks]
        crowded = len(layers) > 24
        for name, marker, style, color, label in (
            ("carried", "o", "-", ACCENT, "behind all pruned blocks"),
            ("own", "s", "--", SECOND, "this block alone pruned"),
        ):
            means = [getattr(block, name) for block in blocks]
            axes.errorbar(
                layers,
                [np.nan if m.mean is None else m.mean for m in means],
                [m.stderr or 0.0 for m in means],
                color=color, marker=marker, linestyle=style, label=label, linewidth=1.4,
                markersize=2.5 if crowded else 4.5, capsize=0 if crowded else 2.5, elinewidth=0.9,
            )  # fmt: skip
        _from_zero(axes)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.set_xlabel("block (0 is next to the input)")
        axes.set_ylabel("relative squared error of the output")
        whole_ticks(axes, layers)
        axes.legend(frameon=False, loc="upper left")
        axes.margins(y=0.25)
        quiet(axes)
        return figure

    return Plot(
        name="reconstruction",
        title="How far each block's output moved",
        caption="Squared distance between the pruned and the dense output, over the dense output's own"
        " size. Dashed: dense inputs, so that each block answers for itself. Bars: ± one standard error"
        " over samples.",
        draw=draw,
        wide=False,
    )


def _sinks_after(after: SinksAfter) -> Plot:
    """What sinks receive in each block, before and after."""

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.4)
        axes = figure.subplots()
        layers = np.array([layer.layer for layer in after.per_layer])
        sides = (
            ("dense_share", SECOND, "", -0.2, "dense model"),
            ("pruned_share_there", ACCENT, "//", 0.2, "pruned model, the same positions"),
        )
        for name, color, hatch, shift, label in sides:
            means = [getattr(layer, name) for layer in after.per_layer]
            axes.bar(
                layers + shift, [m.mean or 0.0 for m in means], 0.38, color=color, hatch=hatch,
                label=label, yerr=[m.stderr or 0.0 for m in means],
                error_kw={"elinewidth": 0.9, "capsize": 0 if len(layers) > 24 else 2.5},
            )  # fmt: skip
        axes.set_xlim(-0.6, len(layers) - 0.4)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("block (0 is next to the input)")
        axes.set_ylabel("share of attention")
        whole_ticks(axes, layers.tolist())
        axes.legend(frameon=False, loc="upper left")
        axes.margins(y=0.3)
        _from_zero(axes)
        quiet(axes)
        return figure

    return Plot(
        name="sinks-after",
        title="What pruning does to the sinks",
        caption="Share of attention that the dense model's sink positions receive, before pruning and"
        " after. Bars: ± one standard error over samples.",
        draw=draw,
        wide=True,
    )


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
