"""The attention function every model here runs with: fused, and able to be watched.

Registered with transformers under `NAME`. Without an observer it is scaled dot-product attention;
with one it also hands over, per key position, the attention mass it received, and on request that
of each head and how long its values are. Where keys are hidden, it is the attention of a model that
does not have them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from core.models.attention_mass import (
    TILE_ELEMENTS,
    Known,
    attention_mass,
    no_mass,
    prefix_mass,
    value_norm,
)
from core.models.hidden_keys import blind_queries, visible
from core.models.past import past_now

NAME = "secateur"

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
    prefixes: tuple[int, ...] = ()
    """Lengths; `mass` is then asked of each prefix, (batch, lengths, positions)."""


_watch: ContextVar[Watch | None] = ContextVar("attention_watch", default=None)
_hidden: ContextVar[Tensor | None] = ContextVar("attention_hidden", default=None)


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
    with _watched_by(Watch(mass, heads, values, present)):
        yield


@contextmanager
def watching_prefixes(observer: Observer, lengths: tuple[int, ...]) -> Iterator[None]:
    """As `watching`, with mass (batch, lengths, positions): what the queries of the first `length`
    positions give. Under causal attention that is the mass within the text as it was when it was so
    long, all lengths from one forward pass."""
    with _watched_by(Watch(observer, prefixes=lengths)):
        yield


@contextmanager
def _watched_by(watch: Watch) -> Iterator[None]:
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def hiding(hidden: Tensor | None) -> Iterator[None]:
    """Have no query see the keys where hidden (batch, positions) bool is true, in every forward pass
    inside the block. A query that would see no key at all sees itself. None hides nothing."""
    token = _hidden.set(hidden)
    try:
        yield
    finally:
        _hidden.reset(token)


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
    j // span ≤ i // span with the span in `module.span`, and all where that is None; except what
    `hiding` says."""
    block, own = cast("int", module.layer_idx), value
    if (past := past_now()) is not None:
        key, value = past.extend(block, key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    span = cast("int | None", module.span)
    if past is not None and query.shape[2] == 1:
        span = None  # the one new position sees everything that it goes on from
    watch, hidden = _watch.get(), _hidden.get()
    kernel: Kernel = _plain if watch is None else _with_log_sum_exp
    if hidden is None:
        output, log_sum_exp = by_span(kernel, query, key, value, span, scale)
    else:
        hidden = hidden.expand(len(query), -1)
        output, log_sum_exp = by_span_hiding(kernel, query, key, value, span, scale, hidden)
    if watch is not None:
        _tell(watch, block, Known(query, key, span, scale, log_sum_exp, hidden), own)
    return output.transpose(1, 2).contiguous(), None


def _tell(watch: Watch, block: int, known: Known, value: Tensor) -> None:
    """Everybody what they asked for."""
    if watch.prefixes:
        watch.mass(block, prefix_mass(watch.prefixes, known))
        return
    heads = None if watch.heads is None else no_mass(known.query)
    watch.mass(block, attention_mass(known, by_head=heads, present=watch.present))
    if watch.heads is not None and heads is not None:
        watch.heads(block, heads)
    if watch.values is not None:
        watch.values(block, value_norm(value))


Answer = tuple[Tensor, Tensor | None]
"""Attention output, and each query's log-sum-exp (batch, heads, positions) where the kernel yields
it; None where `attention_mass` has to find it tile by tile."""


class Kernel(Protocol):
    """From query, key, value, whether to hide what comes after a query, and the scale; `seen`, which
    broadcasts to (batch, heads, queries, keys), says who sees whom where not all do."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        causal: bool,
        scale: float,
        seen: Tensor | None = None,
    ) -> Answer: ...


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
    return _joined(outputs, sums)


def by_span_hiding(
    kernel: Kernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    span: int | None,
    scale: float,
    hidden: Tensor,
) -> Answer:
    """As `by_span`, without the keys where hidden (batch, positions) is true.

    Queries of one span see the same keys, so their mask has one row. Under causal attention each
    query has a row of its own: these go through in tiles, so that no mask is ever whole.
    """
    positions = query.shape[2]
    rows = positions if span is None else span
    if span == 1:
        rows = max(1, min(positions // 4, TILE_ELEMENTS // (len(query) * positions)))
    outputs, sums = [], []
    for begin in range(0, positions, rows):
        end = min(begin + rows, positions)
        seen = visible(hidden, begin, end, causal=span == 1)
        output, log_sum_exp = kernel(
            query[:, :, begin:end], key[:, :, :end], value[:, :, :end], False, scale, seen
        )
        outputs.append(output)
        sums.append(log_sum_exp)
    output, log_sum_exp = _joined(outputs, sums)
    # To see oneself alone is to take one's own value.
    blind = blind_queries(hidden, span)[:, None, :, None]
    return torch.where(blind, value, output), log_sum_exp


def _joined(outputs: list[Tensor], sums: list[Tensor | None]) -> Answer:
    known = [s for s in sums if s is not None]
    return torch.cat(outputs, 2), torch.cat(known, 2) if known else None


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    scale: float,
    seen: Tensor | None = None,
) -> Answer:
    fused = nn.functional.scaled_dot_product_attention
    return fused(query, key, value, attn_mask=seen, is_causal=causal, scale=scale), None


def _with_log_sum_exp(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    scale: float,
    seen: Tensor | None = None,
) -> Answer:
    if query.device.type != "cpu":
        return _plain(query, key, value, causal, scale, seen)
    added = None if seen is None else _as_summand(seen, query.dtype)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    output, log_sum_exp = kernel(query, key, value, 0.0, causal, attn_mask=added, scale=scale)
    return output, log_sum_exp


def _as_summand(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: the kernel beneath the public function takes no booleans."""
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))


def _no_mask(*_: Any, **__: Any) -> None:
    """Sequences are never padded, and `attend` knows itself who sees whom."""


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _no_mask)
