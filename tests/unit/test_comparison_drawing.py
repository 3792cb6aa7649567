"""Laws of the plot's parts: ticks, and labels that never meet."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.comparison.axes import axis
from core.comparison.labels import Box, placed, width_of
from core.comparison.markers import FILLS, KINDS, SHAPES, marker

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-9)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=9), most=st.integers(3, 9))
def test_an_axis_has_room_and_round_ticks(values: list[float], most: int) -> None:
    found = axis(values, 0.0, 100.0, most)
    assert 2 <= len(found.ticks) <= most + 1
    assert all(found.low <= value <= found.high for value in values)
    slack = 1e-9 * max(1.0, abs(found.low), abs(found.high))
    assert all(found.low - slack <= tick <= found.high + slack for tick in found.ticks)
    step = found.ticks[1] - found.ticks[0]
    mantissa = step / 10.0 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-3
    assert found(found.low) == pytest.approx(0.0, abs=1e-6)
    assert found(found.high) == pytest.approx(100.0)


def test_ticks_of_known_values() -> None:
    found = axis([0.5, 0.75], 0.0, 1.0, 7)
    assert found.ticks == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
    assert [found.shown(tick) for tick in found.ticks] == [
        "0.50",
        "0.55",
        "0.60",
        "0.65",
        "0.70",
        "0.75",
    ]
    below = axis([-0.02, 0.1], 0.0, 1.0, 5)
    assert [below.shown(tick) for tick in below.ticks] == ["0", "0.05", "0.10"]


WITHIN = Box(60, 12, 800, 320)


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(60, 860), st.floats(12, 332)), min_size=1, max_size=8),
    lengths=st.lists(st.integers(1, 56), min_size=8, max_size=8),
    together=st.booleans(),
)
def test_labels_never_meet(
    points: list[tuple[float, float]], lengths: list[int], together: bool
) -> None:
    if together:
        points = points[:1] * 8
    texts = ["x" * length for length in lengths[: len(points)]]
    boxes = placed(points, texts, WITHIN, 7)
    for number, box in enumerate(boxes):
        assert box.lies_in(WITHIN)
        assert box.width == width_of(texts[number])
        assert not any(box.meets(other) for other in boxes[:number])


def test_a_label_stands_beside_its_point_where_there_is_room() -> None:
    (box,) = placed([(100.0, 100.0)], ["a label"], WITHIN, 7)
    assert (box.left, box.top) == (109.0, 92.0)
    edge = placed([(850.0, 100.0)], ["a label"], WITHIN, 7)[0]
    assert edge.right == 841.0


def test_every_kind_is_a_drawing_of_its_own() -> None:
    assert KINDS == len(SHAPES) * len(FILLS) == 24
    assert len({marker(kind) for kind in range(KINDS)}) == KINDS
