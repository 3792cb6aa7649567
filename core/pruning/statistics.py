"""What calibration leaves behind per matrix input. Statistics are sums: they update, merge, and
never depend on how the data was batched. Totals are kept in float64 so that order does not show.

Shapes, everywhere: inputs (sequences, positions, in) and weight (sequences, positions), what each
position counts for. Where only some tokens reached the matrix, as in an expert, inputs are (rows, in)
and `tokens` (rows,) holds each row's flat index into sequences × positions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from core.recipes import Recipe


@dataclass(slots=True)
class Statistic(ABC):
    """A sum over calibration sequences."""

    total: Tensor
    """float64."""
    sequences: int = 0
    tokens: int = 0
    """Rows that reached the matrix: none, and the statistic says nothing."""

    axes: ClassVar[int] = 1

    @classmethod
    def empty(cls, width: int, device: torch.device) -> Self:
        return cls(torch.zeros((width,) * cls.axes, dtype=torch.float64, device=device))

    @classmethod
    def of(cls, inputs: Tensor, weight: Tensor, tokens: Tensor | None = None) -> Self:
        found = cls.empty(inputs.shape[-1], inputs.device)
        found.update(inputs, weight, tokens)
        return found

    def update(self, inputs: Tensor, weight: Tensor, tokens: Tensor | None = None) -> None:
        """Add the sequences that `inputs` belong to."""
        self._add(inputs, weight.to(inputs.device, torch.float32), tokens)
        self.sequences += len(weight)
        self.tokens += inputs.shape[:-1].numel()

    def merge(self, other: Self) -> Self:
        """The statistic of both sets of sequences."""
        return type(self)(
            self.total + other.total,
            self.sequences + other.sequences,
            self.tokens + other.tokens,
        )

    @abstractmethod
    def _add(self, inputs: Tensor, weight: Tensor, tokens: Tensor | None) -> None: ...


@dataclass(slots=True)
class DiscountedNorms(Statistic):
    """a_f = Σ_n Σ_t ‖w_{n,t} ⊙ X^{(n,t)}_{·f}‖₂ with w = λ_t·ω_{n,t}, total (in,): sink-aware Wanda.

    arXiv 2602.17664, §4.
    """

    def _add(self, inputs: Tensor, weight: Tensor, tokens: Tensor | None) -> None:
        self.total += _squares(inputs, weight, tokens).sqrt().double().sum(0)

    def input_norm(self) -> Tensor:
        """(in,) float32: what the score multiplies |W| with."""
        return self.total.float()


@dataclass(slots=True)
class SquaredInput(Statistic):
    """s_f = (1/N) Σ_n ‖w_n ⊙ X^{(n)}_{·f}‖₂², total (in,): Wanda.  Sun et al. 2023, §3."""

    def _add(self, inputs: Tensor, weight: Tensor, tokens: Tensor | None) -> None:
        self.total += _squares(inputs, weight, tokens).double().sum(0)

    def mean_square(self) -> Tensor:
        """(in,) float32: s_f."""
        return (self.total / self.sequences).float()

    def input_norm(self) -> Tensor:
        """(in,) float32: √s_f."""
        return self.mean_square().sqrt()


@dataclass(slots=True)
class Hessian(Statistic):
    """H = (2/N) Σ_n (w_n ⊙ X^{(n)})ᵀ(w_n ⊙ X^{(n)}), total (in, in).  Frantar & Alistarh 2023, §3."""

    axes: ClassVar[int] = 2

    def _add(self, inputs: Tensor, weight: Tensor, tokens: Tensor | None) -> None:
        if tokens is not None:
            rows = inputs.float() * weight.flatten()[tokens, None]
            self.total += rows.mT @ rows
            return
        # One product per sequence: what is added then does not depend on the batch it came in.
        for sequence, positions in zip(inputs, weight, strict=True):
            rows = sequence.float() * positions[:, None]
            self.total += rows.mT @ rows

    def matrix(self) -> Tensor:
        """(in, in) float64: H."""
        return self.total * (2 / max(self.sequences, 1))


STATISTICS: dict[tuple[str, str | None], type[Statistic]] = {
    ("wanda", "clean"): SquaredInput,
    ("wanda", "noised"): DiscountedNorms,
    ("sparsegpt", "clean"): Hessian,
    ("sparsegpt", "noised"): Hessian,
}


def statistic_of(recipe: Recipe) -> type[Statistic]:
    """What the recipe's score is computed from; only for scores that read inputs."""
    return STATISTICS[recipe.score, recipe.inputs]


def _squares(inputs: Tensor, weight: Tensor, tokens: Tensor | None) -> Tensor:
    """Σ_j (w_j·x_jf)² per sequence, (sequences, in) float32."""
    if tokens is None:
        # One batched product: the weighted inputs are never stored.
        return torch.einsum("sj,sjf->sf", weight.square(), inputs.float().square())
    squared = (inputs.float() * weight.flatten()[tokens, None]).square()
    sums = squared.new_zeros(len(weight), inputs.shape[-1])
    return sums.index_add_(0, tokens // weight.shape[1], squared)
