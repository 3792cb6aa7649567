"""Shapes that are told apart without colour."""

import math
from collections.abc import Callable, Sequence
from typing import Final

RADIUS: Final = 5.5


def _polygon(*angles: float, scale: float = 1.2, inner: float | None = None) -> str:
    """Corners at `angles` in degrees, 0 to the right; with `inner`, every second one at that radius."""
    corners = []
    for number, angle in enumerate(angles):
        radius = RADIUS * (scale if inner is None or number % 2 == 0 else inner)
        turn = math.radians(angle)
        corners.append(f"{radius * math.cos(turn):.2f},{-radius * math.sin(turn):.2f}")
    return f'<polygon points="{" ".join(corners)}"/>'


def _cross(turn: float) -> str:
    """Two bars, with corners where a thick plus has them."""
    near, far = 0.38, 1.15
    corners = ((near, far), (near, near), (far, near))
    points = []
    for quarter in range(4):
        angle = math.radians(turn - 90 * quarter)
        c, s = math.cos(angle), math.sin(angle)
        points += [f"{RADIUS * (x * c - y * s):.2f},{-RADIUS * (x * s + y * c):.2f}"
                   for x, y in corners]  # fmt: skip
    return f'<polygon points="{" ".join(points)}"/>'


SHAPES: Final[tuple[str, ...]] = (
    f'<circle r="{RADIUS}"/>',
    _polygon(45, 135, 225, 315),
    _polygon(90, 210, 330, scale=1.3),
    _polygon(0, 90, 180, 270, scale=1.3),
    _cross(0),
    _polygon(270, 30, 150, scale=1.3),
    _polygon(*(90 + 36 * n for n in range(10)), scale=1.4, inner=0.6),
    _cross(45),
)
"""Of eight reports each has its own."""

Fill = Callable[[str], str]


def _filled(shape: str) -> str:
    return f'<g fill="currentColor" stroke="none">{shape}</g>'


def _hollow(shape: str) -> str:
    return f'<g fill="var(--card, #fff)" stroke="currentColor" stroke-width="1.6">{shape}</g>'


def _dotted(shape: str) -> str:
    return f'{_hollow(shape)}<circle r="1.6" fill="currentColor"/>'


FILLS: Final[Sequence[Fill]] = (_filled, _hollow, _dotted)
KINDS: Final = len(SHAPES) * len(FILLS)


def marker(kind: int) -> str:
    """The shape number `kind` of KINDS, around the origin."""
    return FILLS[kind // len(SHAPES)](SHAPES[kind % len(SHAPES)])
