"""What a model's sinks are worth to it: its loss when attention to them is hidden."""

from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from core.report.figures import ACCENT, SECOND, Plot, new_figure, quiet
from core.report.quality_parts import Knockout, KnockoutCondition
from core.report.reading import Readable
from core.report.schema import AnyReport

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


def knockout_plots(report: AnyReport | Readable) -> list[Plot]:
    knockout = knockout_of(report)
    pairs = [] if knockout is None else knockout_pairs(knockout)
    if knockout is None or not pairs or report.model is None:
        return []
    return [_differences(pairs), _bands(pairs[0], causal=report.model.attention == "causal")]


def _differences(pairs: list[tuple[str, KnockoutCondition, KnockoutCondition]]) -> Plot:
    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.6)
        axes = figure.subplots()
        at = np.arange(len(pairs))
        for shift, index, color, hatch, label in (
            (-0.2, 1, ACCENT, "//", "the sinks"),
            (0.2, 2, SECOND, "", "as many random positions"),
        ):
            means = [pair[index].difference for pair in pairs]  # type: ignore[union-attr]
            axes.bar(
                at + shift, [m.mean or 0.0 for m in means], 0.38, color=color, hatch=hatch,
                label=label, yerr=[m.stderr or 0.0 for m in means],
                error_kw={"elinewidth": 1.1, "capsize": 3},
            )  # fmt: skip
        axes.set_xticks(at, [f"{name}\n({sinks.hidden:.1f} of a text)" for name, sinks, _ in pairs])
        axes.axhline(0, color=mpl.rcParams["text.color"], linewidth=0.8)
        axes.set_ylabel("rise of the loss (nats per token)")
        axes.margins(y=0.3)
        axes.legend(frameon=False, loc="upper right")
        quiet(axes)
        return figure

    return Plot(
        name="knockout",
        title="What is lost when attention to sinks is hidden",
        caption="How far the loss rises when no position sees the keys of the sinks, beside as many"
        " random positions that are none. If both rise alike, the model does not lean on its sinks."
        " Bars: ± one standard error of the paired difference over samples.",
        draw=draw,
        wide=False,
    )


def _bands(pair: tuple[str, KnockoutCondition, KnockoutCondition], *, causal: bool) -> Plot:
    name, sinks, control = pair

    def draw(width: float) -> Figure:
        figure = new_figure(width, 3.6)
        axes = figure.subplots()
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
        axes.axhline(0, color=mpl.rcParams["text.color"], linewidth=0.8)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xlabel("place in the text" if causal else "share of the text that is masked")
        axes.set_ylabel("rise of the loss (nats per token)")
        axes.margins(y=0.3)
        axes.legend(frameon=False, loc="upper right")
        quiet(axes)
        return figure

    where = "in each quarter of the text" if causal else "in each band of noise levels"
    return Plot(
        name="knockout-by-band",
        title="Where in the text it shows" if causal else "At which noise level it shows",
        caption=f"The same rise {where}, all sinks hidden against as many random positions.",
        draw=draw,
        wide=False,
    )
