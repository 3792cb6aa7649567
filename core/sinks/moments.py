"""Mean and spread of numbers that come a few at a time, without keeping them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Moments:
    """Of any number of arrays of one shape, element by element, NaN left out; float64 on the host.

    Adding arrays one by one in their order gives the same bits however they were grouped; merging
    parts gives the same numbers but for rounding.  Chan, Golub & LeVeque 1979, eq. 2.1.
    """

    count: Tensor
    """How many numbers there were."""
    mean: Tensor
    """0 where there were none."""
    squares: Tensor
    """Σ (x − mean)²."""

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "Moments":
        return cls(*(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))

    @classmethod
    def of(cls, values: Tensor) -> "Moments":
        """Of one array."""
        values = values.double().cpu()
        known = ~values.isnan()
        return cls(known.double(), values.where(known, 0.0), torch.zeros_like(values))

    def merge(self, other: "Moments") -> "Moments":
        """Of all numbers of both."""
        count = self.count + other.count
        share = other.count / count.clamp(min=1)
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * share,
            self.squares + other.squares + apart.square() * self.count * share,
        )

    def means(self) -> Tensor:
        """NaN where there were no numbers."""
        return self.mean.where(self.count > 0, math.nan)

    def standard_errors(self) -> Tensor:
        """Of the means, from the sample variance; NaN where there was one number or none."""
        few = self.count < 2
        variance = self.squares / (self.count - 1).clamp(min=1)
        return (variance / self.count.clamp(min=1)).sqrt().masked_fill(few, math.nan)
