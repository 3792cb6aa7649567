"""SparseGPT: remove weights by their second-order cost and let the rest of their row make up for it.

Frantar & Alistarh 2023 (arXiv 2301.00774), algorithm 1. The published code walks the columns one by
one and updates a whole block of them at each step. Here the columns of a block are halved until a
leaf is left; only within a leaf do columns update each other one by one, everything else is matrix
products. A column of the weight is kept as a contiguous row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import SingularHessian
from core.pruning.pattern_values import Exactly, KeepPerGroup, Pattern, Share
from core.pruning.patterns import lowest_overall, lowest_per_column, removed_by_rank
from core.pruning.statistics import Hessian

BLOCK = 128
"""Columns whose removals are chosen together, as published: another number gives other masks."""

LEAF = 16
"""Columns that update each other one by one. It changes speed, not results."""


@dataclass(frozen=True, slots=True)
class InverseFactor:
    """U (in, in) float32, upper, with H⁻¹ = UᵀU; `dead` (in,) marks inputs that never were non-zero."""

    upper: Tensor
    dead: Tensor


def inverse_factor(hessian: Hessian, damping: float, name: str) -> InverseFactor:
    """The upper Cholesky factor of the inverse of the damped Hessian.

    With R upper and H = R·Rᵀ, U = R⁻¹: one factorisation of the Hessian turned end for end and one
    triangular inverse in place of a factor, an inverse and a second factor. The factorisation, which is
    what an ill-conditioned Hessian breaks, is in float64; R is only as badly conditioned as its root.

    Raises:
        SingularHessian: the damped Hessian is not positive definite, or not finite.
    """
    turned = hessian.matrix().flip(0, 1)
    diagonal = turned.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1
    diagonal += damping * diagonal.mean()
    lower, failed = torch.linalg.cholesky_ex(turned)
    if int(failed) or not bool(torch.isfinite(lower).all()):
        raise SingularHessian(name, damping)
    del turned
    inverse = _inverse_of_lower(lower.float())
    return InverseFactor(inverse.flip(0, 1), dead.flip(0))


def _inverse_of_lower(lower: Tensor) -> Tensor:
    """L⁻¹ of a lower triangular L, by halves: [A 0; C B]⁻¹ = [A⁻¹ 0; −B⁻¹CA⁻¹ B⁻¹]. A solver for
    general right-hand sides would not know that those of the identity are mostly zero."""
    size = len(lower)
    if size <= 2 * BLOCK:
        one = torch.eye(size, device=lower.device)
        solved: Tensor = torch.linalg.solve_triangular(lower, one, upper=False)
        return solved
    half = size // 2
    inverse = torch.zeros_like(lower)
    inverse[:half, :half] = _inverse_of_lower(lower[:half, :half])
    inverse[half:, half:] = _inverse_of_lower(lower[half:, half:])
    below = lower[half:, :half] @ inverse[:half, :half]
    inverse[half:, :half] = -inverse[half:, half:] @ below
    return inverse


def without_inputs(width: int, device: torch.device) -> InverseFactor:
    """H = 1, for a matrix that no calibration token reached: removal by magnitude, no correction."""
    return InverseFactor(
        torch.eye(width, device=device), torch.zeros(width, dtype=torch.bool, device=device)
    )


def solve(weight: Tensor, factor: InverseFactor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """New weight (out, in) float32 and what was removed (out, in) bool.

    A share removes, of every block of 128 columns, all entries up to the one at 0-based rank
    ⌊numel·s⌋; an exact count is handed out to blocks in proportion to their width. Columns of dead
    inputs are removed whatever the pattern.
    """
    columns = weight.float().mT.contiguous()
    columns[factor.dead] = 0
    removed = torch.empty_like(columns, dtype=torch.bool)
    inputs = len(columns)
    width = _block_width(pattern)
    for begin in range(0, inputs, width):
        end = min(begin + width, inputs)
        block = _Block(
            columns[begin:end], factor.upper[begin:end, begin:end], removed[begin:end], pattern
        )
        block.solve(begin, inputs)
        if end < inputs:
            columns[end:].addmm_(factor.upper[begin:end, end:].mT, block.errors, alpha=-1)
    removed |= factor.dead[:, None]
    return columns.mT.contiguous(), removed.mT.contiguous()


def _block_width(pattern: Pattern) -> int:
    """Groups of N:M never straddle two blocks."""
    if isinstance(pattern, KeepPerGroup):
        return BLOCK // pattern.group * pattern.group
    return BLOCK


class _Block:
    """Some columns (columns, out) of a weight, solved together; `errors` is what later ones absorb."""

    def __init__(self, columns: Tensor, upper: Tensor, removed: Tensor, pattern: Pattern) -> None:
        self.columns, self.upper, self.removed, self.pattern = columns, upper, removed, pattern
        self.errors = torch.empty_like(columns)
        self.scale = upper.diagonal()[:, None]
        self.share = torch.empty_like(columns)
        """1/U_cc where a weight goes, else 0: what turns a column into its errors."""
        self.group = pattern.group if isinstance(pattern, KeepPerGroup) else 1
        self.leaf = max(LEAF // self.group, 1) * self.group

    def solve(self, begin: int, inputs: int) -> None:
        """Remove from all columns of the block, which begins at column `begin` of `inputs`."""
        size = len(self.columns)
        count = self._count(begin, inputs)
        if count is not None:
            self._remove(0, size, lowest_overall(self._score(0, size), count))
        self._eliminate(0, size)
        self.columns.masked_fill_(self.removed, 0)

    def _count(self, begin: int, inputs: int) -> int | None:
        """What the block loses as a whole; None where its groups are chosen when they are reached."""
        match self.pattern:
            case Share(sparsity):
                return removed_by_rank(self.columns.numel(), sparsity)
            case Exactly(removed):
                end = begin + len(self.columns)
                return removed * end // inputs - removed * begin // inputs
            case KeepPerGroup():
                return None

    def _eliminate(self, begin: int, end: int) -> None:
        """Find the errors of columns begin…end, and make later ones of that range absorb them."""
        if end - begin <= self.leaf:
            self._eliminate_leaf(begin, end)
            return
        half = begin + -(-(end - begin) // (2 * self.leaf)) * self.leaf
        self._eliminate(begin, half)
        self.columns[half:end].addmm_(
            self.upper[begin:half, half:end].mT, self.errors[begin:half], alpha=-1
        )
        self._eliminate(half, end)

    def _eliminate_leaf(self, begin: int, end: int) -> None:
        for c in range(begin, end):
            if isinstance(self.pattern, KeepPerGroup) and c % self.group == 0:
                # These weights have absorbed all errors before the group.
                count = self.pattern.group - self.pattern.kept
                score = self._score(c, c + self.group)
                self._remove(c, c + self.group, lowest_per_column(score, count))
            torch.mul(self.columns[c], self.share[c], out=self.errors[c])
            if c + 1 < end:
                self.columns[c + 1 : end].addr_(
                    self.upper[c, c + 1 : end], self.errors[c], alpha=-1
                )

    def _remove(self, begin: int, end: int, chosen: Tensor) -> None:
        self.removed[begin:end] = chosen
        torch.div(chosen, self.scale[begin:end], out=self.share[begin:end])

    def _score(self, begin: int, end: int) -> Tensor:
        """w² / U_cc², (columns, out): what removing each weight costs.  Eq. 3."""
        return (self.columns[begin:end] / self.scale[begin:end]).square()
