"""Who still sees whom when some key positions are hidden. Pure functions on boolean masks.

Everywhere: hidden (batch, positions) bool, and span as in `core.models.attention.by_span`.
"""

import torch
from torch import Tensor


def visible(hidden: Tensor, begin: int, end: int, *, causal: bool) -> Tensor:
    """Which of the first `end` keys the queries begin…end see, as a mask that broadcasts to (batch,
    heads, queries, keys): one row for all queries, or with `causal` a row for each.

    A query that sees no key is shown all of them, so that its softmax is defined: whoever asks
    replaces its output, see `blind_queries`.
    """
    seen = ~hidden[:, None, None, :end]
    if causal:
        before = torch.ones(end - begin, end, dtype=torch.bool, device=hidden.device).tril(begin)
        seen = seen & before
    return seen | ~seen.any(-1, keepdim=True)


def blind_queries(hidden: Tensor, span: int | None) -> Tensor:
    """Queries (batch, positions) all of whose keys are hidden: those up to the end of their span."""
    if span is None:
        return hidden.all(-1, keepdim=True).expand_as(hidden)
    positions = hidden.shape[-1]
    ends = (torch.arange(positions, device=hidden.device) // span + 1) * span
    visible_so_far = (~hidden).cumsum(-1)
    return visible_so_far[:, ends.clamp(max=positions) - 1] == 0
