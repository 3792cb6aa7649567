"""The attention function every model here runs with: fused, and able to be watched.

Registered with transformers under `NAME`. Without an observer it is scaled dot-product attention;
with one it also hands over, per key position, the attention mass it received. Where keys are hidden,
it is the attention of a model that does not have them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from core.models.hidden_keys import blind_queries, visible

NAME = "secateur"
TILE_ELEMENTS = 1 << 21
"""Float32 scores held at once (8 MiB). Smaller tiles fit a core's cache, and lose more to waiting
at the end of each of their many short parallel loops, above all on a busy machine."""

Observer = Callable[[int, Tensor], None]
"""Called with (block, mass), mass (batch, positions) float32, summed over heads and queries."""

_observer: ContextVar[Observer | None] = ContextVar("attention_observer", default=None)
_prefixes: ContextVar[tuple[int, ...]] = ContextVar("attention_prefixes", default=())
_hidden: ContextVar[Tensor | None] = ContextVar("attention_hidden", default=None)


@contextmanager
def watching(observer: Observer) -> Iterator[None]:
    """Hand attention mass to `observer` in every forward pass inside the block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextmanager
def watching_prefixes(observer: Observer, lengths: tuple[int, ...]) -> Iterator[None]:
    """As `watching`, with mass (batch, lengths, positions): what the queries of the first `length`
    positions give. Under causal attention that is the mass within the text as it was when it was so
    long, all lengths from one forward pass."""
    token = _prefixes.set(lengths)
    try:
        with watching(observer):
            yield
    finally:
        _prefixes.reset(token)


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
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    span = cast("int | None", module.span)
    observer, hidden = _observer.get(), _hidden.get()
    kernel: Kernel = _plain if observer is None else _with_log_sum_exp
    if hidden is None:
        output, log_sum_exp = by_span(kernel, query, key, value, span, scale)
    else:
        hidden = hidden.expand(len(query), -1)
        output, log_sum_exp = by_span_hiding(kernel, query, key, value, span, scale, hidden)
    if observer is not None:
        block, lengths = cast("int", module.layer_idx), _prefixes.get()
        known = query, key, span, scale, log_sum_exp, hidden
        observer(block, prefix_mass(lengths, *known) if lengths else attention_mass(*known))
    return output.transpose(1, 2).contiguous(), None


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


def prefix_mass(
    lengths: tuple[int, ...],
    query: Tensor,
    key: Tensor,
    span: int | None,
    scale: float,
    log_sum_exp: Tensor | None,
    hidden: Tensor | None = None,
) -> Tensor:
    """`attention_mass` of the queries of each prefix: (batch, lengths, positions) float32, zero behind
    the prefix. Only where no query sees beyond the end of any of them."""
    batch, _, positions, _ = query.shape
    mass = torch.zeros(batch, len(lengths), positions, device=query.device)
    for i, length in enumerate(lengths):
        known = None if log_sum_exp is None else log_sum_exp[:, :, :length]
        unseen = None if hidden is None else hidden[:, :length]
        some = query[:, :, :length], key[:, :, :length]
        mass[:, i, :length] = attention_mass(*some, span, scale, known, unseen)
    return mass


def attention_mass(
    query: Tensor,
    key: Tensor,
    span: int | None,
    scale: float,
    log_sum_exp: Tensor | None,
    hidden: Tensor | None = None,
) -> Tensor:
    """Σ_heads Σ_i A(i, j) as (batch, positions) float32, softmax in float32, without ever holding
    a positions × positions matrix: queries go through in tiles.  arXiv 2602.17664, §3.

    Hidden keys (batch, positions) receive nothing, but for what queries without any other key give
    to themselves.
    """
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
                shares.masked_fill_(blind[some, None, tile, None], 0)
            mass[some] += shares.sum(dim=(1, 2))
    return mass if blind is None else mass + heads * blind


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
