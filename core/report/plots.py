"""Which plots the report has, and what each shows."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from core.report import heatmaps
from core.report.block_plots import block_plots, whole_ticks
from core.report.control_plot import control_plot
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.head_plots import head_plots
from core.report.knockout_plots import knockout_plots
from core.report.noise_words import corrupted, corrupts, grows
from core.report.quality_plots import quality_plots
from core.report.reading import Readable
from core.report.schema import AnyReport, CalibrationFacts
from core.report.sinks_file import SinkArrays
from core.report.variance_plot import spots_of, variance_plot
from core.sinks.kept import PATHS


def all_plots(
    report: AnyReport | Readable, arrays: SinkArrays | None, control: SinkArrays | None = None
) -> list[Plot]:
    """Plots in the page's order. What the data cannot fill is left out: the page says so in words."""
    plots: list[Plot] = []
    if arrays is not None and report.calibration is not None and report.sinks is not None:
        plots += _of_arrays(report, arrays, control)
    plots += filter(None, [variance_plot(list(spots_of(report)))])
    deeper = [*head_plots(report), *quality_plots(report), *knockout_plots(report)]
    return [*plots, *block_plots(report), *deeper]


def _of_arrays(
    report: AnyReport | Readable, arrays: SinkArrays, control: SinkArrays | None
) -> list[Plot]:
    """What is drawn from the attention itself."""
    # Of the samples whose mass was kept.
    samples = chosen_samples(arrays.centroid[: len(arrays.mass)])
    plots = [_mass(report, arrays, samples[0]), _panels(arrays, samples)]
    if control is not None:
        plots += filter(None, [control_plot(report, arrays, control, samples[0])])
    if np.isfinite(arrays.centroid).any() and len(arrays.timesteps) > 1:
        plots += [_centroids(report, arrays, samples[0]), _persistence(report, arrays)]
    return plots


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


def _mass(report: AnyReport | Readable, arrays: SinkArrays, sample: int) -> Plot:
    facts, kept = report.calibration, len(arrays.mass)

    def draw(width: float) -> Figure:
        figure = new_figure(width, min(5.6, max(3.0, 2.0 + 0.24 * len(arrays.timesteps))))
        axes = figure.subplots()
        relative = heatmaps.relative_mass(arrays.mass[sample])
        norm = heatmaps.color_scale([relative])
        image = heatmaps.heatmap(axes, arrays, relative, norm, heatmaps.MAX_COLUMNS)
        heatmaps.mark_sinks(axes, arrays, sample, 40)
        if corrupts(facts):
            heatmaps.masked_axis(axes, arrays, sample, _share_label(facts))
        axes.set_xlabel("position in the text (tokens)")
        axes.set_ylabel("timestep t")
        heatmaps.color_bar(figure, image, norm, [axes])
        return figure

    of = "" if kept >= report.sinks.samples else f" of the first {kept}"
    which = f", whose sinks drift as much as the median sample's{of}" if kept > 2 else ""
    if not arrays.sink[sample].any() or len(arrays.timesteps) < 2:
        which = ""
    return Plot(
        name="mass",
        title=_mass_title(facts),
        caption=f"Sample {sample}{which}; all heads and blocks together.{_time_note(facts)}"
        f" {_marks_note(arrays, sample)}{_pooled_note(arrays)}",
        draw=draw,
        wide=True,
    )


def _share_label(facts: CalibrationFacts) -> str:
    return f"{corrupted(facts)} share of the text"


def _mass_title(facts: CalibrationFacts) -> str:
    if len(facts.timesteps) < 2:
        return "Where attention goes"
    if facts.process == "recorded":
        return "Where attention goes, timestep by timestep"
    if facts.replaces:
        return "Where attention goes as noise gives way to text"
    if grows(facts):
        return "Where attention goes as the text grows"
    return "Where attention goes as noise becomes text"


def _time_note(facts: CalibrationFacts) -> str:
    """Which way time runs in the picture."""
    if len(facts.timesteps) < 2:
        return ""
    if facts.process == "recorded":
        return " The last recorded timestep is on top."
    if grows(facts):
        return " The top row is the shortest beginning; writing runs downwards."
    below = "the text clears downwards" if facts.replaces else "writing runs downwards"
    return f" The top row is the noisiest; {below}."


def _marks_note(arrays: SinkArrays, sample: int) -> str:
    if not arrays.sink[sample].any():
        return "No position stands out far enough to be called a sink."
    if len(arrays.timesteps) < 2:
        return "Rings are sinks, the cross is their centroid."
    return (
        "Rings are sinks, the white line is their centroid: upright where they stay put, bent where"
        " they drift."
    )


def _pooled_note(arrays: SinkArrays) -> str:
    pooled = math.ceil(arrays.mass.shape[-1] / heatmaps.MAX_COLUMNS)
    if pooled < 2:
        return ""
    return f" Each column shows the highest of {pooled} neighbouring positions."


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
    drifting = arrays.sink.any() and len(arrays.timesteps) > 1
    calm = ", from the calmest to the liveliest" if drifting and len(others) > 1 else ""
    which = "other samples" if len(others) > 1 else "another sample"
    more = f" Then all blocks together in {which}{calm}." if others else ""
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


def _centroids(report: AnyReport | Readable, arrays: SinkArrays, sample: int) -> Plot:
    facts, samples = report.calibration, max(report.sinks.samples, len(arrays.centroid))
    paths, steps, positions = arrays.centroid, arrays.timesteps, arrays.mass.shape[-1]
    drawn = np.linspace(0, len(paths) - 1, min(len(paths), PATHS)).round().astype(int)

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.5)
        axes = figure.subplots()
        ink, faint = mpl.rcParams["text.color"], min(0.6, max(0.15, 5 / len(drawn)))
        for i in drawn:
            # A timestep between two without a sink is on no line: only a dot shows it.
            dot = "" if np.isfinite(paths[i]).all() else "."
            axes.plot(steps, paths[i], color=ink, alpha=faint, linewidth=0.9, marker=dot)
        axes.plot(steps, paths[sample], color=ACCENT, linewidth=2.4, marker="o", markersize=4.5)
        axes.set_ylim(-0.03 * positions, 1.03 * positions)
        axes.set_xlabel("timestep t")
        axes.set_ylabel("centroid of the sinks (position)")
        whole_ticks(axes, steps.tolist())
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        quiet(axes)
        if corrupts(facts):
            ticks = heatmaps.tick_rows(len(steps), 6)
            top = axes.secondary_xaxis("top")
            top.set_xticks(steps[ticks], [f"{100 * facts.corrupted[i]:.0f} %" for i in ticks])
            top.set_xlabel(_share_label(facts))
        return figure

    shown = "each sample" if len(drawn) == samples else f"{len(drawn)} of {samples} samples"
    return Plot(
        name="centroids",
        title="Where the sinks wander",
        caption=f"One line for {shown}: the mean position of its sinks, weighted by what they"
        f" receive. Bold is sample {sample}. Sinks that never move draw level lines; a gap is a"
        " timestep without a sink.",
        draw=draw,
        wide=False,
    )


def positions_per_sample(report: AnyReport | Readable, arrays: SinkArrays) -> heatmaps.Array:
    """(t,) positions that are a sink at 1, 2, … t of the timesteps, mean over samples: over all, or
    over those in `arrays` where the report is of a time before it told."""
    known = report.sinks.persistence_histogram
    if known:
        return np.array([bar.positions for bar in known])
    times = arrays.sink.sum(1).ravel()
    counts = np.bincount(times[times > 0], minlength=len(arrays.timesteps) + 1)[1:]
    return counts / len(arrays.sink)


def _persistence(report: AnyReport | Readable, arrays: SinkArrays) -> Plot:
    stable = float((report.job or {}).get("sinks", {}).get("stable_persistence", 0.8))
    steps, per_sample = len(arrays.timesteps), positions_per_sample(report, arrays)

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
