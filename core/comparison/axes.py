"""Ticks and scales of a plot's axes. Pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` on pixels from `begin` to `end`, which may lie the other way round."""

    low: float
    high: float
    begin: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def shown(self, tick: float) -> str:
        """With as many decimals as tell the ticks apart."""
        step = abs(self.ticks[1] - self.ticks[0])
        if not 1e-4 <= step < 1e6:
            return f"{tick:.3g}".replace("-", MINUS)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        text = f"{tick:.{decimals}f}"
        return ("0" if float(text) == 0 else text).replace("-", MINUS)


def axis(values: Sequence[float], begin: float, end: float, most: int) -> Axis:
    """An axis that has room for all `values` and a little more, with at most `most` ticks, which are round
    numbers; there are two at least."""
    low, high = min(values), max(values)
    spread = high - low
    # Of equal values the axis shows the surroundings; so it does where they differ by rounding alone.
    room = 0.06 * spread if spread > 1e-9 * max(abs(low), abs(high)) else abs(high) * 0.1 or 0.1
    low, high = low - room, high + room
    step = _round_step((high - low) / (most - 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first < 1:
        first, last = math.floor(low / step), math.ceil(high / step)
        low, high = min(low, first * step), max(high, last * step)
    ticks = tuple(round(n * step, 12) if step > 1e-9 else n * step for n in range(first, last + 1))
    return Axis(low, high, begin, end, ticks)


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, and no smaller than `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))
