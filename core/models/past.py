"""Keys and values of positions that a causal model has read before, so that they are read once."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor


class Past:
    """By block; shapes (batch, heads, positions, head_dim)."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def positions(self, block: int) -> int:
        """How many the block has read."""
        return self._kept[block][0].shape[2] if block in self._kept else 0

    def extend(self, block: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all positions, the new ones last."""
        if block in self._kept:
            before = self._kept[block]
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
        self._kept[block] = key, value
        return key, value


_past: ContextVar[Past | None] = ContextVar("past", default=None)


def past_now() -> Past | None:
    """What forwards go on from, where they do."""
    return _past.get()


@contextmanager
def going_on_from(past: Past) -> Iterator[None]:
    """Within the block, forwards read what comes after `past`, one position at a time once there is
    any, and become part of it. Only for causal models."""
    token = _past.set(past)
    try:
        yield
    finally:
        _past.reset(token)
