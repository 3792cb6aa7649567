"""Which plots the report has, and what each shows."""

import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from core.report import heatmaps, words
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.schema import LayerSinks, Mean, Report
from core.report.sinks_file import SinkArrays

MAX_PATHS = 150


def all_plots(report: Report, arrays: SinkArrays) -> list[Plot]:
    """Plots in the page's order. What the data cannot fill is left out: the page says so in words."""
    samples = chosen_samples(arrays.centroid)
    plots = [_mass(arrays, samples[0]), _panels(arrays, samples)]
    if np.isfinite(arrays.centroid).any():
        plots += [_centroids(arrays, samples[0]), _persistence(report, arrays)]
    return plots + _by_block(report)


def chosen_samples(centroid: NDArray[np.floating[Any]]) -> list[int]:
    """Up to four samples of (n, t) centroids. The first drifts as much as the median sample; the
    others run from the least drift to the most. Samples without sinks come last."""
    variance = [_variance(row) for row in centroid.astype(np.float64)]
    order = sorted(range(len(variance)), key=lambda i: (variance[i] is None, variance[i] or 0, i))
    moving = [i for i in order if variance[i] is not None] or order
    middle = moving[(len(moving) - 1) // 2]
    spread = [moving[(len(moving) - 1) * k // 2] for k in (0, 1, 2)]
    others = [i for i in dict.fromkeys([*spread, *order]) if i != middle][:3]
    return [middle, *sorted(others, key=order.index)]


def _variance(path: NDArray[np.float64]) -> float | None:
    seen = path[np.isfinite(path)]
    return float(np.var(seen)) if len(seen) else None


def _mass(arrays: SinkArrays, sample: int) -> Plot:
    def draw(width: float) -> Figure:
        figure = new_figure(width, min(5.6, max(3.0, 2.0 + 0.24 * len(arrays.timesteps))))
        axes = figure.subplots()
        relative = heatmaps.relative_mass(arrays.mass[sample])
        norm = heatmaps.color_scale([relative])
        image = heatmaps.heatmap(axes, arrays, relative, norm, heatmaps.MAX_COLUMNS)
        heatmaps.mark_sinks(axes, arrays, sample, 40)
        heatmaps.masked_axis(axes, arrays, sample)
        axes.set_xlabel("position in the text (tokens)")
        axes.set_ylabel("timestep t")
        heatmaps.color_bar(figure, image, norm, [axes])
        return figure

    marks = (
        "Rings are sinks, the white line is their centroid: upright where they stay put, bent where"
        " they drift."
        if arrays.sink[sample].any()
        else "No position stands out far enough to be called a sink."
    )
    which = ", whose sinks drift as much as the median sample's" if len(arrays.mass) > 2 else ""
    pooled = math.ceil(arrays.mass.shape[-1] / heatmaps.MAX_COLUMNS)
    note = (
        f" Each column shows the highest of {pooled} neighbouring positions." if pooled > 1 else ""
    )
    return Plot(
        name="mass",
        title="Where attention goes as noise becomes text",
        caption=f"Sample {sample}{which if arrays.sink.any() else ''}; all heads and blocks together."
        f" The top row is the noisiest; writing runs downwards. {marks}{note}",
        draw=draw,
        wide=True,
    )


def _panels(arrays: SinkArrays, samples: list[int]) -> Plot:
    blocks = arrays.mass.shape[2]
    main, *others = samples
    panels: list[tuple[str, int, int | None]] = [
        (f"block {block}", main, block) for block in sorted({0, (blocks - 1) // 2, blocks - 1})
    ]
    panels += [(f"sample {sample}", sample, None) for sample in others]

    def draw(width: float) -> Figure:
        columns = min(3 if width > 6 else 2, len(panels))
        rows = math.ceil(len(panels) / columns)
        figure = new_figure(width, 1.15 + 1.55 * rows)
        grid = list(figure.subplots(rows, columns, squeeze=False).flatten())
        shown = [heatmaps.relative_mass(arrays.mass[s], block) for _, s, block in panels]
        norm = heatmaps.color_scale(shown)
        for i, (title, sample, block) in enumerate(panels):
            image = heatmaps.heatmap(grid[i], arrays, shown[i], norm, 256)
            grid[i].set_title(title)
            if block is None:
                heatmaps.mark_sinks(grid[i], arrays, sample, 16)
            _label_outside(grid[i], left=i % columns == 0, below=i + columns >= len(panels))
        for axes in grid[len(panels) :]:
            axes.remove()
        heatmaps.color_bar(figure, image, norm, grid[: len(panels)])
        return figure

    marked = "; sinks and their centroid are marked where all blocks are added up"
    calm = ", from the calmest to the liveliest" if arrays.sink.any() else ""
    more = f" Then all blocks together in other samples{calm}." if others else ""
    return Plot(
        name="mass-by-block-and-sample",
        title="The same by depth, and in other samples",
        caption=f"Sample {main} in the first, the middle and the last block.{more} One colour scale"
        f" for all{marked if arrays.sink.any() and others else ''}.",
        draw=draw,
        wide=True,
    )


def _label_outside(axes: Axes, *, left: bool, below: bool) -> None:
    """Numbers and labels only where no other panel follows."""
    axes.tick_params(labelleft=left, labelbottom=below)
    axes.set_ylabel("timestep t" if left else "")
    axes.set_xlabel("position (tokens)" if below else "")


def _whole_ticks(axes: Axes, values: list[int]) -> None:
    """Ticks on whole numbers only, also where there are fewer values than ticks."""
    if len(values) <= 6:
        axes.set_xticks(values)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def _centroids(arrays: SinkArrays, sample: int) -> Plot:
    paths, steps, positions = arrays.centroid, arrays.timesteps, arrays.mass.shape[-1]
    drawn = np.linspace(0, len(paths) - 1, min(len(paths), MAX_PATHS)).round().astype(int)

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.5)
        axes = figure.subplots()
        ink, faint = mpl.rcParams["text.color"], min(0.6, max(0.15, 5 / len(drawn)))
        for i in drawn:
            # A timestep between two without a sink is on no line: only a dot shows it.
            dot = "" if np.isfinite(paths[i]).all() and len(steps) > 1 else "."
            axes.plot(steps, paths[i], color=ink, alpha=faint, linewidth=0.9, marker=dot)
        axes.plot(steps, paths[sample], color=ACCENT, linewidth=2.4, marker="o", markersize=4.5)
        axes.set_ylim(-0.03 * positions, 1.03 * positions)
        axes.set_xlabel("timestep t")
        axes.set_ylabel("centroid of the sinks (position)")
        _whole_ticks(axes, steps.tolist())
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        quiet(axes)
        ticks = heatmaps.tick_rows(len(steps), 6)
        share = arrays.masked.mean((0, 2))
        top = axes.secondary_xaxis("top")
        top.set_xticks(steps[ticks], [f"{100 * share[i]:.0f} %" for i in ticks])
        top.set_xlabel("masked share of the text")
        return figure

    shown = "each sample" if len(drawn) == len(paths) else f"{len(drawn)} of {len(paths)} samples"
    return Plot(
        name="centroids",
        title="Where the sinks wander",
        caption=f"One line for {shown}: the mean position of its sinks, weighted by what they"
        f" receive. Bold is sample {sample}. Sinks that never move draw level lines; a gap is a"
        " timestep without a sink.",
        draw=draw,
        wide=False,
    )


def _persistence(report: Report, arrays: SinkArrays) -> Plot:
    stable = float(report.job.get("sinks", {}).get("stable_persistence", 0.8))
    steps, samples = len(arrays.timesteps), len(arrays.sink)
    times = arrays.sink.sum(1).ravel()
    per_sample = np.bincount(times[times > 0], minlength=steps + 1)[1:] / samples

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.5)
        axes = figure.subplots()
        share, width_of_bar = np.arange(1, steps + 1) / steps, 0.8 / max(steps, 6)
        is_stable = share >= stable - 1e-9
        for chosen, color, hatch in ((~is_stable, SECOND, ""), (is_stable, ACCENT, "///")):
            axes.bar(share[chosen], per_sample[chosen], width_of_bar, color=color, hatch=hatch)
        axes.set_xlim(0, 1 + 0.75 * width_of_bar)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("share of timesteps at which the position is a sink")
        axes.set_ylabel("positions per sample")
        quiet(axes)
        return figure

    return Plot(
        name="persistence",
        title="How long a sink stays one",
        caption=f"Positions that are a sink at least once. Hatched: at {100 * stable:g} % of the"
        " timesteps or more, which we call stable; the others are transient.",
        draw=draw,
        wide=False,
    )


def _by_block(report: Report) -> list[Plot]:
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
        ),
    ]
    return [plot for plot in plots if plot is not None]


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
        _whole_ticks(axes, list(range(len(layers))))
        quiet(axes)
        return figure

    missing = len(layers) - len(points)
    note = f" {words.plural(missing, 'block')} without sinks left out." if missing else ""
    return Plot(name=name, title=title, caption=caption + note, draw=draw, wide=False)
