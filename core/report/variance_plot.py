"""How concentrated attention is against how far its sinks move: this model among others."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.report.control_plot import name_of
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.schema import Mean, ModelFacts, SinkFacts

REFERENCES: Final = Path(__file__).parent / "references.json"
LEAST: Final = 1e-6
"""Below it a drift is drawn as none: of a text of a thousand tokens, one position's."""
RANDOM: Final = 1 / 12
"""Variance of a point that is thrown anew at random onto the unit interval."""
_LINE: Final = 0.062  # of the axes' height: what a label needs
_BACK: Final = {
    "arrowstyle": "-",
    "linewidth": 0.6,
    "shrinkA": 0,
    "shrinkB": 5,
    "relpos": (0, 0.5),
}


@dataclass(frozen=True, slots=True)
class Spot:
    """One model on one trajectory."""

    label: str
    causal: bool
    concentration: float
    """Variance over positions of the attention each receives, the mean as 1."""
    concentration_error: float
    drift: float
    """Variance over timesteps of the sinks' centroid, the length as 1."""
    drift_error: float
    own: bool = False
    """Whether this report measured it."""
    stands_for: str = ""
    """The reference that measures the same, and so need not be shown beside it."""


@cache
def references() -> tuple[Spot, ...]:
    """What `examples/sinks_dlm_vs_ar.py` measured of the shipped models."""
    return tuple(Spot(**entry) for entry in json.loads(REFERENCES.read_text(encoding="utf-8")))


def spot(label: str, model: ModelFacts, sinks: SinkFacts, *, own: bool = True) -> Spot | None:
    """Where a model stands; None where it has no sink that could move."""
    if sinks.temporal_variance_relative.mean is None or sinks.spatial_variance.mean is None:
        return None
    concentration, scale = sinks.spatial_variance_relative, 1
    if concentration.mean is None:  # a report of a time before it was told
        # Shares sum to one: their mean is one over the length.
        concentration, scale = sinks.spatial_variance, sinks.positions**2
    return Spot(
        label,
        model.attention == "causal",
        (concentration.mean or 0.0) * scale,
        _error(concentration) * scale,
        sinks.temporal_variance_relative.mean,
        _error(sinks.temporal_variance_relative),
        own,
    )


def variance_plot(own: list[Spot]) -> Plot | None:
    """The scatter; None where this report measured nothing to place in it."""
    if not own:
        return None
    shown = {spot.stands_for for spot in own}
    spots = [*own, *(spot for spot in references() if spot.label not in shown)]

    def draw(width: float) -> Figure:
        figure = new_figure(width, 4.2)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=LEAST, linscale=0.4)
        for each in spots:
            _mark(axes, each)
        _limits(axes, spots)
        axes.axhline(RANDOM, color=mpl.rcParams["text.color"], linestyle=":", linewidth=1)
        axes.text(
            0.995, RANDOM * 1.15, "places at random", transform=axes.get_yaxis_transform(),
            ha="right", va="bottom", fontsize=8,
        )  # fmt: skip
        _name(axes, spots)
        axes.set_xlabel("spatial variance of attention (mean position = 1)")
        axes.set_ylabel("temporal variance of the sinks (length = 1)")
        quiet(axes)
        return figure

    return Plot(
        name="variance",
        title="Concentrated where, and moving how far?",
        caption="To the right attention is heaped on fewer positions; upwards its sinks move further from"
        " timestep to timestep. Filled: measured here; hollow: the shipped models, measured before."
        " Circles are diffusion models, squares write from left to right. Bars: ± one standard error."
        " Both axes are logarithmic; what lies on the lower edge does not move.",
        draw=draw,
        wide=True,
    )


def _error(mean: Mean) -> float:
    return mean.stderr or 0.0


def _mark(axes: Axes, each: Spot) -> None:
    color = SECOND if each.causal else ACCENT
    axes.errorbar(
        each.concentration,
        each.drift if each.drift > LEAST else 0.0,
        xerr=each.concentration_error,
        yerr=each.drift_error if each.drift > LEAST else None,
        color=color,
        marker="s" if each.causal else "o",
        markersize=9 if each.own else 7,
        markerfacecolor=color if each.own else "none",
        linewidth=1,
        capsize=2,
        zorder=3 if each.own else 2,
    )


def _limits(axes: Axes, spots: list[Spot]) -> None:
    known = [each.concentration for each in spots if each.concentration > 0] or [1.0]
    axes.set_xlim(min(known) / 2.5, max(known) * 6)
    axes.set_ylim(-LEAST / 4, 1.0)


def _name(axes: Axes, spots: list[Spot]) -> None:
    """Each spot's name to its right, moved up where it would cover another's, with a line back.

    From the right on: then a line back never meets a name, all of which begin further to the right.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    placed: list[tuple[float, float]] = []
    for each in sorted(spots, key=lambda s: -s.concentration):
        y_data = each.drift if each.drift > LEAST else 0.0
        x, y = to_axes.transform((each.concentration, y_data))
        at = _free(float(x), float(y), placed)
        placed += [(float(x), at), (float(x), float(y))]
        axes.annotate(
            each.label, (float(x), float(y)), (float(x) + 0.022, at),
            xycoords="axes fraction", textcoords="axes fraction", va="center", fontsize=8.5,
            fontweight="bold" if each.own else "normal",
            arrowprops=_BACK if at != y else None,
        )  # fmt: skip


def _free(x: float, y: float, placed: list[tuple[float, float]]) -> float:
    """The lowest height from `y` on at which no label that began nearby lies."""
    near = [height for left, height in placed if abs(left - x) < 0.35]
    while any(abs(height - y) < _LINE for height in near):
        y += _LINE / 4
    return y


def spots_of(report: Any) -> Iterator[Spot]:
    """The report's own model, and its control where it has one."""
    found = [(report.model, report.sinks, "this model")]
    control = getattr(report, "control", None)
    if control is not None:
        found.append((control.model, control.sinks, "control"))
    for model, sinks, role in found:
        if model is not None and sinks is not None and len(sinks.timesteps) > 1:
            made = spot(f"{name_of(model.source)} ({role})", model, sinks)
            if made is not None:
                yield replace(made, stands_for=f"{name_of(model.source)}, {sinks.trajectory}")
