"""What calibration leaves behind per matrix input. Statistics are sums: they update, merge, and
never depend on how the data was batched. Totals are kept in float64 so that order does not show."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DiscountedNorms:
    """a_f = Σ_n Σ_t λ_t·‖ω_{n,t} ⊙ X^{(n,t)}_{·f}‖₂: sink-aware Wanda.  arXiv 2602.17664, §4."""

    total: Tensor
    """(in,) float64."""

    @classmethod
    def of(cls, inputs: Tensor, weight: Tensor) -> "DiscountedNorms":
        """From inputs (sequences, positions, in) and ω = 1 − φ (sequences, positions)."""
        # Σ_j ω_j²·x_jf² as one batched product: the discounted inputs are never stored.
        squared = torch.einsum("sj,sjf->sf", weight.float().square(), inputs.float().square())
        return cls(squared.sqrt().double().sum(0))

    def merge(self, other: "DiscountedNorms") -> "DiscountedNorms":
        return DiscountedNorms(self.total + other.total)

    def input_norm(self) -> Tensor:
        """(in,) float32: what the score multiplies |W| with."""
        return self.total.float()


@dataclass(frozen=True, slots=True)
class SquaredInput:
    """s_f = (1/N) Σ_n ‖X^{(n)}_{·f}‖₂²: Wanda.  Sun et al. 2023, §3."""

    total: Tensor
    """(in,) float64, summed over sequences."""
    sequences: int

    @classmethod
    def of(cls, inputs: Tensor) -> "SquaredInput":
        """From inputs (sequences, positions, in)."""
        return cls(inputs.float().square().sum(1).double().sum(0), inputs.shape[0])

    def merge(self, other: "SquaredInput") -> "SquaredInput":
        return SquaredInput(self.total + other.total, self.sequences + other.sequences)

    def mean_square(self) -> Tensor:
        """(in,) float32: s_f."""
        return (self.total / self.sequences).float()

    def input_norm(self) -> Tensor:
        """(in,) float32: √s_f."""
        return self.mean_square().sqrt()


InputStatistic = DiscountedNorms | SquaredInput
