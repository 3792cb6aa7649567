"""How much attention each key position receives, and how long its values are."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.models.hidden_keys import blind_queries

TILE_ELEMENTS = 1 << 21
"""Float32 scores held at once (8 MiB). Smaller tiles fit a core's cache, and lose more to waiting
at the end of each of their many short parallel loops, above all on a busy machine."""


class Known(NamedTuple):
    """What the weights of attention follow from."""

    query: Tensor
    """(batch, heads, positions, head_dim)"""
    key: Tensor
    """As `query`."""
    span: int | None
    """Position i sees j exactly if j // span ≤ i // span; all where it is None."""
    scale: float
    log_sum_exp: Tensor | None
    """Each query's, (batch, heads, positions); None where it has to be found tile by tile."""
    hidden: Tensor | None = None
    """(batch, positions) bool: keys that no query sees; None where there are none."""


def value_norm(value: Tensor) -> Tensor:
    """‖v_j‖₂, (batch, heads, positions, head_dim) → (batch, heads, positions) float32."""
    norm: Tensor = torch.linalg.vector_norm(value, dim=-1, dtype=torch.float32)
    return norm


def no_mass(query: Tensor) -> Tensor:
    """(batch, heads, positions) zeros, for `attention_mass` to add to."""
    return torch.zeros(query.shape[:3], dtype=torch.float32, device=query.device)


def prefix_mass(lengths: tuple[int, ...], known: Known) -> Tensor:
    """`attention_mass` of the queries of each prefix: (batch, lengths, positions) float32, zero behind
    the prefix. Only where no query sees beyond the end of any of them."""
    batch, _, positions, _ = known.query.shape
    mass = torch.zeros(batch, len(lengths), positions, device=known.query.device)
    for i, length in enumerate(lengths):
        sums, hidden = known.log_sum_exp, known.hidden
        within = known._replace(
            query=known.query[:, :, :length],
            key=known.key[:, :, :length],
            log_sum_exp=None if sums is None else sums[:, :, :length],
            hidden=None if hidden is None else hidden[:, :length],
        )
        mass[:, i, :length] = attention_mass(within)
    return mass


def attention_mass(
    known: Known, *, by_head: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_heads Σ_i A(i, j) as (batch, positions) float32, softmax in float32, without ever holding
    a positions × positions matrix: queries go through in tiles.  arXiv 2602.17664, §3.

    Hidden keys receive nothing, but for what queries without any other key give to themselves.
    Σ_i A(i, j) of each head is added to `by_head` (batch, heads, positions), which changes no bit of
    what is returned. Where only some positions are `present` (batch, positions), i runs over these.
    """
    query, key, span, scale, log_sum_exp, hidden = known
    batch, heads, positions, _ = query.shape
    mass = torch.zeros(batch, positions, dtype=torch.float32, device=query.device)
    rows = max(1, min(positions // 4, TILE_ELEMENTS // (heads * positions)))
    samples = max(1, TILE_ELEMENTS // (rows * heads * positions))
    blind = None if hidden is None else blind_queries(hidden, span)
    for first in range(0, batch, samples):
        some = slice(first, first + samples)
        keys = key[some].float().mT
        for begin in range(0, positions, rows):
            tile = slice(begin, begin + rows)
            scores = (query[some, :, tile].float() * scale) @ keys
            if span is not None:
                _hide_unseen(scores, begin, span)
            if hidden is not None:
                scores.masked_fill_(hidden[some, None, None], float("-inf"))
            if log_sum_exp is None:
                shares = scores.softmax(dim=-1)
            else:
                shares = scores.sub_(log_sum_exp[some, :, tile, None]).exp_()
            if blind is not None:
                _see_oneself(shares, blind[some], begin)
            if present is not None:
                shares = shares.mul_(present[some, None, tile, None])
            mass[some] += shares.sum(dim=(1, 2))
            if by_head is not None:
                by_head[some] += shares.sum(dim=2)
    return mass


def _see_oneself(shares: Tensor, blind: Tensor, begin: int) -> None:
    """Give all of a blind query's attention to itself: shares (batch, heads, rows, positions) with
    row 0 for query `begin`, blind (batch, positions) bool."""
    rows = torch.arange(shares.shape[2], device=shares.device)
    lone = blind[:, None, begin : begin + len(rows)]
    shares.masked_fill_(lone[..., None], 0)
    shares[:, :, rows, begin + rows] += lone


def _hide_unseen(scores: Tensor, begin: int, span: int) -> None:
    """Set scores (…, rows, positions) of keys in later spans than the query's to -inf; row 0 is
    query `begin`."""
    rows, positions = scores.shape[-2:]
    queries = torch.arange(begin, begin + rows, device=scores.device) // span
    keys = torch.arange(positions, device=scores.device) // span
    scores.masked_fill_(keys[None, :] > queries[:, None], float("-inf"))
