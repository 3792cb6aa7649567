"""From scores to what is removed. Masks are boolean, True where a weight goes."""

import math

import torch
from torch import Tensor


def removed_per_row(width: int, sparsity: float) -> int:
    """⌊in·s⌋."""
    return math.floor(width * sparsity)


def lowest_per_row(score: Tensor, count: int) -> Tensor:
    """The `count` lowest of each row of score (out, in); of equals, those with lower index go.

    The same as the head of a stable ascending sort, found by selection instead of sorting.
    """
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = score.kthvalue(count, dim=-1, keepdim=True).values
    below = score < threshold
    tied = score == threshold
    room = count - below.sum(-1, keepdim=True)
    return below | (tied & (tied.cumsum(-1) <= room))


def up_to_rank(score: Tensor, sparsity: float) -> Tensor:
    """Every entry ≤ the value at 0-based rank ⌊numel·s⌋ of the whole matrix, as the published
    magnitude baseline does: one more than ⌊numel·s⌋ where no scores are equal."""
    rank = math.floor(score.numel() * sparsity)
    return score <= score.flatten().kthvalue(rank + 1).values
