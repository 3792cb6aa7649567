"""A model beside its control, on the same text: where attention goes, timestep by timestep."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.report import heatmaps
from core.report.figures import Plot, new_figure
from core.report.reading import Readable
from core.report.schema import AnyReport
from core.report.sinks_file import SinkArrays
from core.report.words import drift_of

COLUMNS = 256


def control_plot(
    report: AnyReport | Readable, own: SinkArrays, other: SinkArrays, sample: int
) -> Plot | None:
    """The two heatmaps under one colour scale; None where no control was watched."""
    control = report.control
    if control is None or report.model is None or report.sinks is None:
        return None
    beside = min(sample, len(other.mass) - 1)
    sides = (
        (f"{name_of(report.model.source)}: {drift_of(report.sinks)}", own, sample),
        (f"{name_of(control.model.source)}: {drift_of(control.sinks)}", other, beside),
    )

    def draw(width: float) -> Figure:
        wide = width > 6
        figure = new_figure(width, 3.9 if wide else 6.2)
        rows, columns = (1, 2) if wide else (2, 1)
        grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flatten())
        shown = [heatmaps.relative_mass(arrays.mass[n]) for _, arrays, n in sides]
        norm = heatmaps.color_scale(shown)
        for axes, (title, arrays, n), values in zip(grid, sides, shown, strict=True):
            image = heatmaps.heatmap(axes, arrays, values, norm, COLUMNS)
            heatmaps.mark_sinks(axes, arrays, n, 24)
            axes.set_title(title)
            axes.set_xlabel("position in the text (tokens)")
            axes.set_ylabel("timestep t")
        heatmaps.color_bar(figure, image, norm, grid)
        return figure

    causal = control.model.attention == "causal"
    kind = "writes from left to right" if causal else "was given as a control"
    return Plot(
        name="control",
        title="The same text, the other model",
        caption=f"Right (below on small screens): {control.model.source}, which {kind}. All heads and"
        " blocks together, one colour scale. Rings are sinks, the white line is their centroid.",
        draw=draw,
        wide=True,
    )


def name_of(source: str) -> str:
    """The last part of where a model comes from."""
    return source.rstrip("/").rpartition("/")[2].rpartition(":")[2]
