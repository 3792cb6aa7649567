"""The attention function every model here runs with: fused, and able to be watched.

Registered with transformers under `NAME`. Without an observer it is scaled dot-product attention;
with one it also hands over, per key position, the attention mass it received, and on request that
of each head and how long its values are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from core.models.past import past_now

NAME = "secateur"
TILE_ELEMENTS = 1 << 21
"""Float32 scores held at once (8 MiB). Smaller tiles fit a core's cache, and lose more to waiting
at the end of each of their many short parallel loops, above all on a busy machine."""

Observer = Callable[[int, Tensor], None]
"""Called with (block, mass), mass (batch, positions) float32, summed over heads and queries."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is asked of attention, each called with a block and what was found there."""

    mass: Observer
    heads: Observer | None = None
    """(batch, heads, positions) float32: each head's mass, summed over queries."""
    values: Observer | None = None
    """(batch, key-value heads, positions) float32: ‖v_j‖ over the head's dimensions."""
    present: Tensor | None = None
    """(batch, positions) bool: whose queries count; None where all do."""


_watch: ContextVar[Watch | None] = ContextVar("attention_watch", default=None)


@contextmanager
def watching(
    mass: Observer,
    *,
    heads: Observer | None = None,
    values: Observer | None = None,
    present: Tensor | None = None,
) -> Iterator[None]:
    """Hand attention mass to `mass`, and more to whom else is named, in every forward pass inside
    the block."""
    token = _watch.set(Watch(mass, heads, values, present))
    try:
        yield
    finally:
        _watch.reset(token)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - sequences are never padded here
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention output (batch, positions, heads, head_dim) from query (batch, heads, positions,
    head_dim) and key, value with as many or fewer heads; position i sees j exactly if
    j // span ≤ i // span with the span in `module.span`, and all where that is None."""
    own = value
    if (past := past_now()) is not None:
        key, value = past.extend(cast("int", module.layer_idx), key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    span = cast("int | None", module.span)
    if past is not None and query.shape[2] == 1:
        span = None  # the one new position sees everything that it goes on from
    watch = _watch.get()
    kernel = _plain if watch is None else _with_log_sum_exp
    output, log_sum_exp = by_span(kernel, query, key, value, span, scale)
    if watch is not None:
        block = cast("int", module.layer_idx)
        heads = None if watch.heads is None else _no_mass(query)
        present = watch.present
        mass = attention_mass(query, key, span, scale, log_sum_exp, by_head=heads, present=present)
        watch.mass(block, mass)
        if watch.heads is not None and heads is not None:
            watch.heads(block, heads)
        if watch.values is not None:
            watch.values(block, value_norm(own))
    return output.transpose(1, 2).contiguous(), None


def value_norm(value: Tensor) -> Tensor:
    """‖v_j‖₂, (batch, heads, positions, head_dim) → (batch, heads, positions) float32."""
    norm: Tensor = torch.linalg.vector_norm(value, dim=-1, dtype=torch.float32)
    return norm


def _no_mass(query: Tensor) -> Tensor:
    """(batch, heads, positions) zeros, for `attention_mass` to add to."""
    return torch.zeros(query.shape[:3], dtype=torch.float32, device=query.device)


Answer = tuple[Tensor, Tensor | None]
"""Attention output, and each query's log-sum-exp (batch, heads, positions) where the kernel yields
it; None where `attention_mass` has to find it tile by tile."""

Kernel = Callable[[Tensor, Tensor, Tensor, bool, float], Answer]
"""From query, key, value, whether to hide what comes after a query, and the scale."""


def by_span(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, span: int | None, scale: float
) -> Answer:
    """Attention where position i sees j exactly if j // span ≤ i // span, without any mask: the
    queries of one span see the same keys, all of those up to the span's end."""
    positions = query.shape[2]
    if span is None or span == 1:
        return kernel(query, key, value, span == 1, scale)
    outputs, sums = [], []
    for begin in range(0, positions, span):
        end = min(begin + span, positions)
        output, log_sum_exp = kernel(
            query[:, :, begin:end], key[:, :, :end], value[:, :, :end], False, scale
        )
        outputs.append(output)
        sums.append(log_sum_exp)
    known = [s for s in sums if s is not None]
    return torch.cat(outputs, 2), torch.cat(known, 2) if known else None


def _plain(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float) -> Answer:
    fused = nn.functional.scaled_dot_product_attention
    return fused(query, key, value, is_causal=causal, scale=scale), None


def _with_log_sum_exp(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float
) -> Answer:
    if query.device.type != "cpu":
        return _plain(query, key, value, causal, scale)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    output, log_sum_exp = kernel(query, key, value, 0.0, causal, scale=scale)
    return output, log_sum_exp


def attention_mass(
    query: Tensor,
    key: Tensor,
    span: int | None,
    scale: float,
    log_sum_exp: Tensor | None,
    *,
    by_head: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Σ_heads Σ_i A(i, j) as (batch, positions) float32, softmax in float32, without ever holding
    a positions × positions matrix: queries go through in tiles.  arXiv 2602.17664, §3.

    Σ_i A(i, j) of each head is added to `by_head` (batch, heads, positions), which changes no bit of
    what is returned. Where only some positions are `present` (batch, positions), i runs over these.
    """
    batch, heads, positions, _ = query.shape
    mass = torch.zeros(batch, positions, dtype=torch.float32, device=query.device)
    rows = max(1, min(positions // 4, TILE_ELEMENTS // (heads * positions)))
    samples = max(1, TILE_ELEMENTS // (rows * heads * positions))
    for first in range(0, batch, samples):
        some = slice(first, first + samples)
        keys = key[some].float().mT
        for begin in range(0, positions, rows):
            tile = slice(begin, begin + rows)
            scores = (query[some, :, tile].float() * scale) @ keys
            if span is not None:
                _hide_unseen(scores, begin, span)
            if log_sum_exp is None:
                shares = scores.softmax(dim=-1)
            else:
                shares = scores.sub_(log_sum_exp[some, :, tile, None]).exp_()
            if present is not None:
                shares = shares.mul_(present[some, None, tile, None])
            mass[some] += shares.sum(dim=(1, 2))
            if by_head is not None:
                by_head[some] += shares.sum(dim=2)
    return mass


def _hide_unseen(scores: Tensor, begin: int, span: int) -> None:
    """Set scores (…, rows, positions) of keys in later spans than the query's to -inf; row 0 is
    query `begin`."""
    rows, positions = scores.shape[-2:]
    queries = torch.arange(begin, begin + rows, device=scores.device) // span
    keys = torch.arange(positions, device=scores.device) // span
    scores.masked_fill_(keys[None, :] > queries[:, None], float("-inf"))


def _no_mask(*_: Any, **__: Any) -> None:
    """Sequences are never padded, and `attend` knows itself who sees whom."""


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _no_mask)
