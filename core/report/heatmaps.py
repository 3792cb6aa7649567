"""Attention mass as heatmaps: position across, timesteps downwards from noise to text."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from core.report.figures import COLORS
from core.report.sinks_file import SinkArrays

Array = NDArray[np.floating[Any]]

MAX_COLUMNS = 512
CROWDED = 150  # sink marks in one heatmap; above it they are drawn smaller


def relative_mass(mass: Array, layer: int | None = None) -> Array:
    """(t, L, S) → (t, S): mass of one layer, or of all, over its mean position's."""
    chosen = mass.astype(np.float32)
    total = chosen.sum(1) if layer is None else chosen[:, layer]
    mean = total.mean(-1, keepdims=True)
    relative: Array = np.divide(total, mean, out=np.ones_like(total), where=mean > 0)
    return relative


def pooled(values: Array, most: int) -> tuple[Array, int]:
    """At most `most` columns, each the largest of `width` neighbours, so that no sink disappears."""
    rows, columns = values.shape
    width = math.ceil(columns / most)
    padded = np.pad(values, ((0, 0), (0, -columns % width)), constant_values=-np.inf)
    return padded.reshape(rows, -1, width).max(-1), width


def color_scale(shown: list[Array]) -> LogNorm:
    """One logarithmic scale for several heatmaps; the faintest hundredth shares a colour.

    It spans at least ½ to 2, so that attention that is nearly even looks nearly even.
    """
    values = np.concatenate([values.ravel() for values in shown])
    values = values[np.isfinite(values) & (values > 0)]
    low, high = (np.quantile(values, 0.01), values.max()) if len(values) else (1.0, 1.0)
    return LogNorm(vmin=max(0.01, min(float(low), 0.5)), vmax=max(float(high), 2.0))


def heatmap(axes: Axes, arrays: SinkArrays, values: Array, norm: LogNorm, most: int) -> AxesImage:
    """Draw (t, S) `values` with the noisiest timestep on top."""
    columns, width = pooled(values, most)
    positions, rows = values.shape[1], values.shape[0]
    image = axes.imshow(
        np.clip(columns[::-1], norm.vmin, None),
        norm=norm,
        cmap=COLORS,
        aspect="auto",
        interpolation="none",
        extent=(-0.5, columns.shape[1] * width - 0.5, rows - 0.5, -0.5),
    )
    axes.set_xlim(-0.5, positions - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    steps = tick_rows(rows, 6)
    axes.set_yticks([rows - 1 - i for i in steps], [str(arrays.timesteps[i]) for i in steps])
    axes.spines[:].set_visible(False)
    return image


def mark_sinks(axes: Axes, arrays: SinkArrays, sample: int, size: float) -> None:
    """Rings on the sink set, and the centroid's path through them."""
    times, positions = np.nonzero(arrays.sink[sample][::-1])
    path = arrays.centroid[sample][::-1]
    crowded = len(times) > CROWDED
    axes.plot(
        path,
        np.arange(len(path)),
        color="white",
        linewidth=1.0 if size < 20 else 1.6,
        marker="" if len(path) > 1 else "x",
        path_effects=[withStroke(linewidth=2.2 if size < 20 else 3.4, foreground="black")],
        zorder=3,
    )
    for color, width in (("black", 2.0), ("white", 1.0)):
        axes.scatter(
            positions,
            times,
            s=size / 4 if crowded else size,
            facecolors="none",
            edgecolors=color,
            linewidths=width / 2 if crowded or size < 20 else width,
            clip_on=False,
            zorder=2,
        )


def masked_axis(axes: Axes, arrays: SinkArrays, sample: int, label: str) -> None:
    """How much of the text is corrupted at each timestep, on the right."""
    share = arrays.masked[sample].mean(-1)
    steps = tick_rows(len(share), 6)
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        [len(share) - 1 - i for i in steps], [f"{100 * share[i]:.0f} %" for i in steps]
    )
    right.spines[:].set_visible(False)
    right.set_ylabel(label)


def color_bar(figure: Figure, image: AxesImage, norm: LogNorm, axes: list[Axes]) -> None:
    """A scale below the heatmaps, in multiples of the mean."""
    bar = figure.colorbar(
        image, ax=axes, location="bottom", shrink=0.62, aspect=44, pad=0.03, extend="min"
    )
    marks = _marks(float(norm.vmin or 0.1), float(norm.vmax or 10.0))
    bar.set_ticks(marks, labels=[f"{mark:g}×" for mark in marks])
    bar.minorticks_off()
    bar.set_label("attention received, over that of the mean position")
    bar.ax.spines[:].set_visible(False)


def tick_rows(rows: int, most: int) -> list[int]:
    """At most `most` evenly spaced row numbers, the last row among them."""
    return list(range(rows - 1, -1, -math.ceil(rows / most)))[::-1]


def _marks(low: float, high: float) -> list[float]:
    for steps in ((1, 2, 5), (1, 3), (1,)):
        marks = [m * 10.0**e for e in range(-3, 6) for m in steps if low <= m * 10.0**e <= high]
        if len(marks) <= 8:
            return marks
    return marks[:: math.ceil(len(marks) / 8)]
