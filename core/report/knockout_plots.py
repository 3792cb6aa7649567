"""What a model's sinks are worth to it: its loss when attention to them is hidden."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from core.report.control_plot import name_of
from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.quality_parts import Knockout, KnockoutCondition
from core.report.reading import Readable
from core.report.schema import AnyReport, ModelFacts

PAIRS: Final = (
    ("all", "random", "all sinks"),
    ("stable", "random-stable", "stable sinks"),
    ("transient", "random-transient", "transient sinks"),
)
"""What is hidden, as many random positions beside it, and how both are called."""


def knockout_of(report: AnyReport | Readable) -> Knockout | None:
    """What the report has of it, wherever its kind keeps it."""
    if report.kind == "analysis":
        return report.knockout
    return None if report.quality is None else report.quality.knockout


def knockout_pairs(
    knockout: Knockout,
) -> list[tuple[str, KnockoutCondition, KnockoutCondition]]:
    """(name, sinks, random positions) of each kind of sink that there was any of."""
    found = {condition.name: condition for condition in knockout.conditions}
    return [
        (name, found[sinks], found[control])
        for sinks, control, name in PAIRS
        if sinks in found and control in found and found[sinks].hidden > 0
    ]


@dataclass(frozen=True, slots=True)
class _Side:
    """One model's answers; where there are two, they are drawn side by side on one scale."""

    title: str
    causal: bool
    pairs: list[tuple[str, KnockoutCondition, KnockoutCondition]]


def knockout_plots(report: AnyReport | Readable) -> list[Plot]:
    sides = list(_sides(report))
    return [_differences(sides), _bands(sides)] if sides else []


def knocked_out(
    report: AnyReport | Readable,
) -> Iterator[tuple[ModelFacts | None, Knockout]]:
    """The model, if it is known, and then its control, each with what was found."""
    if (own := knockout_of(report)) is not None:
        yield report.model, own
        if (control := report.control) is not None and control.knockout is not None:
            yield control.model, control.knockout


def _sides(report: AnyReport | Readable) -> Iterator[_Side]:
    for model, knockout in knocked_out(report):
        pairs = knockout_pairs(knockout)
        if model is None or not pairs:
            return  # nothing stands beside what is not there
        yield _Side(name_of(model.source), model.attention == "causal", pairs)


def _panels(width: float, sides: list[_Side], draw: Callable[[Axes, _Side], None]) -> Figure:
    wide, count = width > 6, len(sides)
    figure = new_figure(width, 3.6 if wide or count == 1 else 6.4)
    rows, columns = (1, count) if wide else (count, 1)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, side in zip(grid, sides, strict=True):
        draw(axes, side)
        axes.axhline(0, color=mpl.rcParams["text.color"], linewidth=0.8)
        axes.set_ylabel("rise of the loss (nats per token)")
        axes.margins(y=0.3)
        if count > 1:
            axes.set_title(side.title)
        quiet(axes)
    grid[0].legend(frameon=False, loc="upper right")
    return figure


def _differences(sides: list[_Side]) -> Plot:
    def bars(axes: Axes, side: _Side) -> None:
        at = np.arange(len(side.pairs))
        for shift, index, color, hatch, label in (
            (-0.2, 1, ACCENT, "//", "the sinks"),
            (0.2, 2, SECOND, "", "as many random positions"),
        ):
            means = [pair[index].difference for pair in side.pairs]  # type: ignore[union-attr]
            axes.bar(
                at + shift, [m.mean or 0.0 for m in means], 0.38, color=color, hatch=hatch,
                label=label, yerr=[m.stderr or 0.0 for m in means],
                error_kw={"elinewidth": 1.1, "capsize": 3},
            )  # fmt: skip
        names = [f"{name}\n({sinks.hidden:.1f} of a text)" for name, sinks, _ in side.pairs]
        axes.set_xticks(at, names)

    return Plot(
        name="knockout",
        title="What is lost when attention to sinks is hidden",
        caption="How far the loss rises when no position sees the keys of the sinks, beside as many"
        " random positions that are none. If both rise alike, the model does not lean on its sinks."
        f"{_beside(sides)} Bars: ± one standard error of the paired difference over samples.",
        draw=lambda width: _panels(width, sides, bars),
        wide=len(sides) > 1,
    )


def _bands(sides: list[_Side]) -> Plot:
    def lines(axes: Axes, side: _Side) -> None:
        name, sinks, control = side.pairs[0]
        for condition, color, marker, style, label in (
            (sinks, ACCENT, "o", "-", name),
            (control, SECOND, "s", "--", "as many random positions"),
        ):
            middle = [(band.lower + band.upper) / 2 for band in condition.bands]
            axes.errorbar(
                middle, [band.difference for band in condition.bands],
                [band.stderr or 0.0 for band in condition.bands],
                color=color, marker=marker, linestyle=style, capsize=3, label=label,
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("place in the text" if side.causal else "share of the text that is masked")

    causal = sides[0].causal
    where = "in each quarter of the text" if causal else "in each band of noise levels"
    return Plot(
        name="knockout-by-band",
        title="Where in the text it shows" if causal else "At which noise level it shows",
        caption=f"The same rise {where}, all sinks hidden against as many random positions."
        f"{_beside(sides)}",
        draw=lambda width: _panels(width, sides, lines),
        wide=len(sides) > 1,
    )


def _beside(sides: list[_Side]) -> str:
    if len(sides) == 1:
        return ""
    how = ", by place in the text" if sides[1].causal and not sides[0].causal else ""
    return (
        f" Right (below on small screens): {sides[1].title}, the control{how}. One scale for both."
    )
