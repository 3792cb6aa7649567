"""The scatter of spatial against temporal variance: every name readable, none said twice."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from core.report.variance_plot import Spot, references, spots_of, variance_plot
from tests.report_inputs import report_for, sink_arrays


def own(concentration: float, drift: float, stands_for: str = "") -> Spot:
    return Spot("kjv-dlm (this model)", False, concentration, 0.0, drift, 0.0, True, stands_for)


def names(spots: list[Spot], width: float) -> list[Annotation]:
    plot = variance_plot(spots)
    assert plot is not None
    figure = plot.draw(width)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


BESIDE = [own(s.concentration, s.drift, s.label) for s in references()[::2]] + [own(0.1, 0.0)]


@pytest.mark.parametrize("width", [9.0, 4.2])
@pytest.mark.parametrize("spot", BESIDE, ids=lambda s: s.stands_for or "still")
def test_no_name_covers_another_or_a_line_back(spot: Spot, width: float) -> None:
    found = names([spot], width)
    boxes = [Text.get_window_extent(name) for name in found]  # without the line
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    for name, box in zip(found, boxes, strict=True):
        if name.arrow_patch is None:
            continue
        ends = name.arrow_patch.get_path().vertices
        ends = name.arrow_patch.get_transform().transform(ends)
        line = ends[0] + np.linspace(0, 1, 50)[:, None] * (ends[-1] - ends[0])
        others = [other for other in boxes if other is not box]
        assert not [1 for other in others for x, y in line if other.contains(x, y)]


def test_a_reference_that_this_report_measures_itself_is_left_out() -> None:
    same = references()[0]
    shown = [name.get_text() for name in names([own(0.02, 0.03, same.label)], 9.0)]
    assert same.label not in shown
    assert len(shown) == len(references())
    assert len(names([own(0.02, 0.03)], 9.0)) == len(references()) + 1


def test_a_report_says_what_its_model_stands_for() -> None:
    report = report_for(sink_arrays("drifting", samples=2, timesteps=4, layers=2, positions=64))
    (spot,) = spots_of(report)
    assert spot.stands_for == f"{spot.label.partition(' (')[0]}, forward-noise"
