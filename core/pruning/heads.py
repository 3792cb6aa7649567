"""What belongs to an attention head, and how much of it was removed.

A head has its rows of q, its columns of o, and with the heads of its group the rows of k and v that
they share. Where r heads share a group, counts are kept r-fold, so that shared ones stay whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from core.models.families import Dimensions, Role


def by_head(removed: Tensor, role: Role, dimensions: Dimensions) -> tuple[int, ...]:
    """How many of removed (out, in) bool belong to each head, or to each group of heads for k and v.

    Empty for matrices that are no part of attention.
    """
    d = dimensions
    match role:
        case "q":
            counts = removed.view(d.heads, d.head_dim, -1).sum((1, 2))
        case "k" | "v":
            counts = removed.view(d.kv_heads, d.head_dim, -1).sum((1, 2))
        case "o":
            counts = removed.view(-1, d.heads, d.head_dim).sum((0, 2))
        case _:
            return ()
    return tuple(counts.tolist())


@dataclass
class HeadTally:
    """Removed weights of every head of a model, as matrices become final."""

    dimensions: Dimensions
    counts: list[list[int]] = field(default_factory=list)
    """(blocks, heads), r-fold."""

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [[0] * self.dimensions.heads for _ in range(self.dimensions.blocks)]

    @property
    def _sharers(self) -> int:
        return self.dimensions.heads // self.dimensions.kv_heads

    def add(self, block: int, role: Role, counts: Sequence[int]) -> None:
        """What `by_head` found in one matrix; nothing of matrices outside of attention."""
        shared = role in ("k", "v")
        for head in range(self.dimensions.heads if counts else 0):
            if shared:
                self.counts[block][head] += counts[head // self._sharers]
            else:
                self.counts[block][head] += counts[head] * self._sharers

    def fractions(self) -> list[list[float]]:
        """Removed share of what belongs to each head, (blocks, heads)."""
        d = self.dimensions
        # q and o count r-fold in full, k and v once for each of the r heads that share them.
        size = d.head_dim * d.width * (2 * self._sharers + 2)
        return [[count / size for count in heads] for heads in self.counts]

    def over(self, others: "HeadTally") -> list[list[float]]:
        """These counts as a share of others, head by head; 0 where there are none."""
        return [
            [count / other if other else 0.0 for count, other in zip(heads, rest, strict=True)]
            for heads, rest in zip(self.counts, others.counts, strict=True)
        ]
