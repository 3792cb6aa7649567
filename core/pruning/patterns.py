"""From scores to what is removed. Masks are boolean, True where a weight goes; of equal scores the
one with the lower index goes, so that counts are exact whatever the dtype's resolution."""

import math

import torch
from torch import Tensor

from core.pruning.pattern_values import Exactly, KeepPerGroup, Pattern, Share


def choose_by_row(score: Tensor, pattern: Pattern) -> Tensor:
    """Wanda: rows of score (out, in) are compared within themselves.

    A share removes ⌊in·s⌋ of each row. An exact count gives every row the same, and what is left
    over to the first rows, one each.
    """
    rows, width = score.shape
    match pattern:
        case Share(sparsity):
            return lowest_per_row(score, removed_per_row(width, sparsity))
        case Exactly(removed):
            count, more = divmod(removed, rows)
            if not more:
                return lowest_per_row(score, count)
            first = lowest_per_row(score[:more], count + 1)
            return torch.cat([first, lowest_per_row(score[more:], count)])
        case KeepPerGroup():
            return lowest_per_group(score, pattern)


def choose_overall(score: Tensor, pattern: Pattern) -> Tensor:
    """Magnitude: all entries of score are compared with each other.

    A share removes every entry up to the one at 0-based rank ⌊numel·s⌋, as the published baseline
    does: one more than ⌊numel·s⌋.
    """
    match pattern:
        case Share(sparsity):
            return lowest_overall(score, removed_by_rank(score.numel(), sparsity))
        case Exactly(removed):
            return lowest_overall(score, removed)
        case KeepPerGroup():
            return lowest_per_group(score, pattern)


def removed_per_row(width: int, sparsity: float) -> int:
    """⌊in·s⌋."""
    return math.floor(width * sparsity)


def removed_by_rank(entries: int, sparsity: float) -> int:
    """⌊numel·s⌋ + 1: ranks 0 to ⌊numel·s⌋, both included."""
    return min(math.floor(entries * sparsity) + 1, entries)


def lowest_per_row(score: Tensor, count: int) -> Tensor:
    """The `count` lowest of each row of score (out, in).

    The same as the head of a stable ascending sort, found by selection instead of sorting.
    """
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    threshold = score.kthvalue(count, dim=-1, keepdim=True).values
    at_most = score <= threshold
    if bool((at_most.sum(-1) == count).all()):
        return at_most
    below = score < threshold
    tied = score == threshold
    room = count - below.sum(-1, keepdim=True)
    return below | (tied & (tied.cumsum(-1) <= room))


def lowest_overall(score: Tensor, count: int) -> Tensor:
    """The `count` lowest of all entries, shaped like score."""
    return lowest_per_row(score.reshape(1, -1), count).view(score.shape)


def lowest_per_group(score: Tensor, pattern: KeepPerGroup) -> Tensor:
    """The M − N lowest of every M consecutive entries of each row of score (…, in)."""
    groups = score.reshape(-1, pattern.group)
    order = groups.sort(dim=-1, stable=True).indices[:, : pattern.group - pattern.kept]
    removed = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, value=True)
    return removed.view(score.shape)


def lowest_per_column(score: Tensor, count: int) -> Tensor:
    """The `count` lowest of each column of score (few, many) float32, none of them negative.

    Each entry's rank is how many of its column lie below it: for few rows quicker than sorting. The
    bits of such numbers are in the order of the numbers, so one integer holds a score and its index.
    """
    few = len(score)
    index = torch.arange(few, device=score.device)[:, None]
    key = score.contiguous().view(torch.int32).long() * few + index
    return (key[None] < key[:, None]).sum(1) < count
