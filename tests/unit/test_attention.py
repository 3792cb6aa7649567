"""Attention mass found in tiles equals the column sums of the whole matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from core.models import attention
from core.models.attention_mass import Known, attention_mass


class Layer(nn.Module):
    """What `attend` needs to know of the layer that calls it."""

    span: int | None
    layer_idx: int

    def __init__(self, span: int | None) -> None:
        super().__init__()
        self.span, self.layer_idx = span, 3


def eager(query: Tensor, key: Tensor, span: int | None) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    keys = key.double().repeat_interleave(groups, 1)
    scores = query.double() @ keys.mT * query.shape[-1] ** -0.5
    for i in range(query.shape[2] if span else 0):
        assert span is not None
        scores[:, :, i, (i // span + 1) * span :] = float("-inf")
    weights: Tensor = scores.softmax(-1)
    return weights


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 2),
    positions=st.integers(1, 37),
    span=st.sampled_from([None, 1, 2, 5, 32, 64]),
    tile=st.sampled_from([1, 40, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_watched_attention_is_attention(
    batch: int, kv_heads: int, groups: int, positions: int, span: int | None, tile: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, kv_heads * groups, positions, 8, generator=rng) * 3
    key = torch.randn(batch, kv_heads, positions, 8, generator=rng)
    value = torch.randn(batch, kv_heads, positions, 8, generator=rng)
    seen: dict[int, Tensor] = {}
    with pytest.MonkeyPatch.context() as patch, attention.watching(seen.__setitem__):
        patch.setattr(attention, "TILE_ELEMENTS", tile)
        watched, _ = attention.attend(Layer(span), query, key, value, None)
    plain, _ = attention.attend(Layer(span), query, key, value, None)
    weights = eager(query, key, span)
    output = weights @ value.double().repeat_interleave(groups, 1)
    assert_close(watched.double(), output.transpose(1, 2), rtol=1e-4, atol=1e-5)
    assert_close(plain.double(), output.transpose(1, 2), rtol=1e-4, atol=1e-5)
    assert list(seen) == [3]
    assert_close(seen[3].double(), weights.sum((1, 2)), rtol=1e-5, atol=1e-5)
    # Every query of every head gives out exactly one.
    total = torch.full((batch,), float(kv_heads * groups * positions))
    assert_close(seen[3].sum(-1), total, rtol=1e-5, atol=0)


@pytest.mark.parametrize("span", [None, 1, 8])
def test_devices_without_a_log_sum_exp_find_the_same_mass(span: int | None) -> None:
    rng = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 33, 8, generator=rng) for _ in range(3))
    scale = 8**-0.5
    _, known = attention.by_span(attention._with_log_sum_exp, query, key, value, span, scale)
    with_it = attention_mass(Known(query, key, span, scale, known))
    without = attention_mass(Known(query, key, span, scale, None))
    assert known is not None
    assert_close(with_it, without, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("span", [None, 1, 32])
def test_no_whole_matrix_is_held(span: int | None) -> None:
    """The largest float32 tensor made while watching is a small part of positions × positions."""
    positions = 512
    query = torch.randn(1, 1, positions, 8)
    largest = 0

    class Sizes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    with Sizes(), attention.watching(lambda block, mass: None):
        attention.attend(Layer(span), query, query, query, None)
    assert 0 < largest <= positions * positions // 4


def test_watching_ends_with_its_block() -> None:
    x = torch.randn(1, 1, 4, 8)
    seen: list[int] = []
    with pytest.raises(KeyError), attention.watching(lambda block, mass: seen.append(block)):
        raise KeyError
    attention.attend(Layer(None), x, x, x, None)
    assert seen == []
