"""Hidden keys are as good as removed: for attention, for its mass, and for whole models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AttentionInterface

from core.models import attention
from core.models.attention_mass import Known, attention_mass
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.hidden_keys import blind_queries, visible
from core.models.intake import take_in
from tests.family_checkpoints import tiny
from tests.unit.test_attention import Layer, eager

SPANS = [None, 1, 2, 5, 32, 64]


def naive(
    query: Tensor, key: Tensor, value: Tensor, span: int | None, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """Output (batch, heads, positions, head_dim) and mass (batch, positions), query by query: keys
    that it does not see are not there."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.double().repeat_interleave(groups, 1) for x in (key, value))
    output, mass = torch.empty(query.shape).double(), torch.zeros(hidden.shape).double()
    for b, i in torch.cartesian_prod(torch.arange(len(query)), torch.arange(query.shape[2])):
        end = query.shape[2] if span is None else (int(i) // span + 1) * span
        seen = [j for j in range(min(end, query.shape[2])) if not hidden[b, j]] or [int(i)]
        scores = torch.einsum("hd,hjd->hj", query[b, :, i].double(), key[b][:, seen])
        shares = (scores * query.shape[-1] ** -0.5).softmax(-1)
        output[b, :, i] = torch.einsum("hj,hjd->hd", shares, value[b][:, seen])
        mass[b, seen] += shares.sum(0)
    return output, mass


def some_hidden(batch: int, positions: int, rng: torch.Generator) -> Tensor:
    """Nothing, much, or all of each row."""
    share = torch.tensor([0.0, 0.2, 0.8, 1.0])[torch.randint(4, (batch, 1), generator=rng)]
    return torch.rand(batch, positions, generator=rng) < share


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    kv_heads=st.integers(1, 2),
    groups=st.integers(1, 2),
    positions=st.integers(1, 19),
    span=st.sampled_from(SPANS),
    tile=st.sampled_from([1, 40, 1 << 20]),
    seed=st.integers(0, 999),
)
def test_hidden_keys_are_as_good_as_removed(
    batch: int, kv_heads: int, groups: int, positions: int, span: int | None, tile: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, kv_heads * groups, positions, 8, generator=rng) * 3
    key, value = (torch.randn(batch, kv_heads, positions, 8, generator=rng) for _ in range(2))
    hidden = some_hidden(batch, positions, rng)
    seen: dict[int, Tensor] = {}
    with pytest.MonkeyPatch.context() as patch, attention.hiding(hidden):
        patch.setattr(attention, "TILE_ELEMENTS", tile)
        plain, _ = attention.attend(Layer(span), query, key, value, None)
        with attention.watching(seen.__setitem__):
            watched, _ = attention.attend(Layer(span), query, key, value, None)
    output, mass = naive(query, key, value, span, hidden)
    assert_close(plain.double(), output.transpose(1, 2), rtol=1e-4, atol=1e-5)
    assert_close(watched.double(), output.transpose(1, 2), rtol=1e-4, atol=1e-5)
    assert_close(seen[3].double(), mass, rtol=1e-5, atol=1e-5)
    # Exactly nothing, but for the queries that see themselves alone: one from every head.
    blind = blind_queries(hidden, span)
    own = (blind & hidden).float() * kv_heads * groups
    assert torch.equal(seen[3][hidden], own[hidden])


@pytest.mark.parametrize("span", [None, 1, 64])
def test_whole_stretches_of_a_long_text_can_be_hidden(span: int | None) -> None:
    """Kernels work off keys in pieces, of which some are hidden altogether."""
    rng = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 1200, 8, generator=rng) for _ in range(3))
    hidden, rest = torch.zeros(1, 1200, dtype=torch.bool), slice(704, None)
    hidden[:, :704] = True
    seen: dict[int, Tensor] = {}
    with attention.hiding(hidden), attention.watching(seen.__setitem__):
        watched, _ = attention.attend(Layer(span), query, key, value, None)
    weights = eager(query[:, :, rest], key[:, :, rest], span)
    expected = (weights @ value[:, :, rest].double()).transpose(1, 2)
    assert_close(watched[:, rest].double(), expected, rtol=1e-4, atol=1e-5)
    if span is None:
        assert not seen[3][:, :704].any()
        assert seen[3].sum().item() == pytest.approx(2 * 1200, rel=1e-5)
    else:
        assert torch.equal(watched[:, :704], value[:, :, :704].transpose(1, 2))
        assert torch.equal(seen[3][:, :704], torch.full((1, 704), 2.0))
        assert_close(seen[3][:, rest].double(), weights.sum((1, 2)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("span", [None, 1, 8])
def test_devices_without_a_log_sum_exp_find_the_same_mass(span: int | None) -> None:
    rng = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 4, 33, 8, generator=rng) for _ in range(3))
    hidden, scale = some_hidden(3, 33, rng), 8**-0.5
    hidden[0], hidden[1, :9] = True, True
    kernel = attention._with_log_sum_exp
    _, known = attention.by_span_hiding(kernel, query, key, value, span, scale, hidden)
    assert known is not None
    with_it = attention_mass(Known(query, key, span, scale, known, hidden))
    without = attention_mass(Known(query, key, span, scale, None, hidden))
    assert_close(with_it, without, rtol=1e-5, atol=1e-5)


def test_masks_have_one_row_where_queries_see_the_same() -> None:
    hidden = torch.tensor([[True, False, False], [True, True, True]])
    assert visible(hidden, 0, 3, causal=False).shape == (2, 1, 1, 3)
    assert visible(hidden, 0, 3, causal=False)[0, 0, 0].tolist() == [False, True, True]
    rows = visible(hidden, 1, 3, causal=True)
    assert rows[0, 0].tolist() == [[False, True, False], [False, True, True]]
    assert blind_queries(hidden, None).tolist() == [[False] * 3, [True] * 3]
    assert blind_queries(hidden, 1).tolist() == [[True, False, False], [True] * 3]
    assert blind_queries(hidden, 2).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("span", [None, 1, 32])
def test_no_whole_matrix_is_held(span: int | None) -> None:
    """Of masks too: the largest tensor made on the way is a small part of positions × positions."""
    positions = 512
    query = torch.randn(1, 1, positions, 8)
    hidden = torch.rand(1, positions, generator=torch.Generator().manual_seed(0)) < 0.3
    largest = 0

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    with Sizes(), attention.hiding(hidden), attention.watching(lambda block, mass: None):
        attention.attend(Layer(span), query, query, query, None)
    assert 0 < largest <= positions * positions // 4


def test_hiding_ends_with_its_block() -> None:
    x = torch.randn(1, 1, 4, 8)
    plain, _ = attention.attend(Layer(None), x, x, x, None)
    hidden = torch.tensor([[True, False, False, False]])
    with attention.hiding(hidden):
        assert not torch.equal(attention.attend(Layer(None), x, x, x, None)[0], plain)
        with attention.hiding(None):
            assert torch.equal(attention.attend(Layer(None), x, x, x, None)[0], plain)
    with pytest.raises(KeyError), attention.hiding(hidden):
        raise KeyError
    assert torch.equal(attention.attend(Layer(None), x, x, x, None)[0], plain)


def test_prefixes_are_watched_as_if_the_text_ended_there(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "llama"))), torch.device("cpu"))
    ids = torch.randint(60, (2, 24), generator=torch.Generator().manual_seed(0))
    lengths, grown = (3, 10, 24), dict[int, Tensor]()
    with attention.watching_prefixes(grown.__setitem__, lengths), torch.inference_mode():
        decoder.run_blocks(ids)
    for i, length in enumerate(lengths):
        alone: dict[int, Tensor] = {}
        with attention.watching(alone.__setitem__), torch.inference_mode():
            decoder.run_blocks(ids[:, :length])
        for block, mass in alone.items():
            assert_close(grown[block][:, i, :length], mass, rtol=1e-5, atol=1e-5)
            assert not grown[block][:, i, length:].any()


@contextmanager
def removing(hidden: Tensor) -> Iterator[None]:
    """Models run with `naive` in place of our attention, with these keys taken out."""

    def instead(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, **_: Any
    ) -> tuple[Tensor, None]:
        output, _mass = naive(query, key, value, module.span, hidden)  # type: ignore[arg-type]
        return output.to(query.dtype).transpose(1, 2).contiguous(), None

    AttentionInterface.register(attention.NAME, instead)
    try:
        yield
    finally:
        AttentionInterface.register(attention.NAME, attention.attend)


def logits(decoder: Decoder, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        return decoder.head(decoder.features(ids))


@pytest.mark.parametrize("kind", ["llada", "dream", "qwen3", "llada2_moe"])
def test_whole_models_answer_as_if_the_keys_were_removed(tmp_path: Path, kind: str) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, kind))), torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(60, (3, 40), generator=rng)
    hidden = torch.rand(3, 40, generator=rng) < 0.4
    hidden[0, :5], hidden[2] = True, True
    with removing(hidden):
        expected = logits(decoder, ids)
    with attention.hiding(hidden):
        found = logits(decoder, ids)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (logits(decoder, ids) - expected).abs().max() > 1e-3
