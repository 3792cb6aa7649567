"""Where a plot's labels go: beside their points, and never over each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT: Final = 16.0
"""Of a label's box, for letters of 12 pixels."""
GAP: Final = 9.0  # from a point's middle to its label
_CHARACTER: Final = 6.6  # pixels; wide enough for the fonts that systems have


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def meets(self, other: "Box") -> bool:
        apart = (
            self.right <= other.left
            or other.right <= self.left
            or self.bottom <= other.top
            or other.bottom <= self.top
        )
        return not apart

    def lies_in(self, other: "Box") -> bool:
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom


def width_of(text: str) -> float:
    return _CHARACTER * len(text) + 4


def placed(
    points: Sequence[tuple[float, float]], texts: Sequence[str], within: Box, marker: float
) -> list[Box]:
    """A box within `within` for each text, near its point; no two of them meet, nor, where there is
    room, a marker, which reaches `marker` pixels from its point.

    Each text must fit into half of the width. A label has its choice of two columns of places, of
    which earlier ones take no more than two each: for eight labels there is one as long as `within`
    has a height of 16 lines.
    """
    markers = [Box(x - marker, y - marker, 2 * marker, 2 * marker) for x, y in points]
    taken: list[Box] = []
    for (x, y), text in zip(points, texts, strict=True):
        free = [
            box
            for box in _places(x, y, width_of(text), within)
            if not any(box.meets(other) for other in taken)
        ]
        clear = (box for box in free if not any(box.meets(other) for other in markers))
        taken.append(next(clear, free[0]))
    return taken


def _places(x: float, y: float, width: float, within: Box) -> Iterator[Box]:
    """To the right and to the left of the point, the nearest first, then higher and lower."""
    lines = int(within.height // HEIGHT) + 1
    for away in range(2 * lines + 1):
        shift = (away + 1) // 2 * (HEIGHT + 1) * (1 if away % 2 else -1)
        top = y - HEIGHT / 2 + shift
        for left in (x + GAP, x - GAP - width):
            box = Box(left, top, width, HEIGHT)
            if box.lies_in(within):
                yield box
