"""SparseGPT's solver: exact counts, corrections that pay, and no Hessian but the one it was given."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from core.errors import SingularHessian
from core.pruning import sparsegpt
from core.pruning.pattern_values import Exactly, KeepPerGroup, Pattern, Share
from core.pruning.sparsegpt import inverse_factor, solve, without_inputs
from core.pruning.statistics import Hessian
from tests import oracle

DAMPING = 0.01
seeds = st.integers(0, 10_000)
widths = st.integers(1, 300)


def inputs(seed: int, width: int, *, sequences: int = 6, positions: int = 32) -> Tensor:
    """Correlated, as activations are."""
    rng = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=rng) / width**0.5 + torch.eye(width)
    drawn: Tensor = torch.randn(sequences, positions, width, generator=rng) @ mixed
    return drawn


def hessian(x: Tensor) -> Hessian:
    return Hessian.of(x, torch.ones(x.shape[:2]))


def weight(seed: int, rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed + 1))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 9), widths)
def test_the_factor_is_that_of_the_damped_inverse(seed: int, rows: int, width: int) -> None:
    found = hessian(inputs(seed, width, sequences=rows))
    upper = inverse_factor(found, DAMPING, "m").upper.double()
    damped = found.matrix() + DAMPING * found.matrix().diagonal().mean() * torch.eye(width)
    assert torch.equal(upper, upper.triu())
    assert_close(upper.mT @ upper @ damped, torch.eye(width).double(), rtol=0, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 7), widths, st.floats(0.01, 0.99))
def test_every_block_of_columns_loses_its_rank(
    seed: int, rows: int, width: int, sparsity: float
) -> None:
    factor = inverse_factor(hessian(inputs(seed, width)), DAMPING, "m")
    new, removed = solve(weight(seed, rows, width), factor, Share(sparsity))
    for begin in range(0, width, sparsegpt.BLOCK):
        block = removed[:, begin : begin + sparsegpt.BLOCK]
        expected = min(math.floor(block.numel() * sparsity) + 1, block.numel())
        assert int(block.sum()) == expected
    assert torch.equal(new == 0, removed)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 7), widths, st.data())
def test_an_exact_count_is_met(seed: int, rows: int, width: int, data: st.DataObject) -> None:
    factor = inverse_factor(hessian(inputs(seed, width)), DAMPING, "m")
    count = data.draw(st.integers(0, rows * width))
    _, removed = solve(weight(seed, rows, width), factor, Exactly(count))
    assert int(removed.sum()) == count


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 5), st.integers(1, 40), st.data())
def test_every_group_keeps_exactly_n(seed: int, rows: int, count: int, data: st.DataObject) -> None:
    group = data.draw(st.integers(2, 32))
    kept = data.draw(st.integers(1, group - 1))
    factor = inverse_factor(hessian(inputs(seed, count * group, sequences=2)), DAMPING, "m")
    new, removed = solve(weight(seed, rows, count * group), factor, KeepPerGroup(kept, group))
    per_group = (~removed).view(rows, count, group).sum(-1)
    assert per_group.eq(kept).all()
    assert torch.equal(new == 0, removed)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 128, 129, 300])
@pytest.mark.parametrize("choice", [0.3, 0.5, 0.75, (2, 4), (4, 8), (1, 3), (5, 32)])
def test_halving_columns_finds_what_one_column_after_the_other_does(
    width: int, choice: oracle.Choice
) -> None:
    if not isinstance(choice, float):
        width = -(-width // choice[1]) * choice[1]
    found, dense = hessian(inputs(3, width, sequences=12)), weight(3, 24, width)
    # A group that straddles two blocks of 128 is legal there and avoided here.
    expected, mask = oracle.column_by_column(
        dense.double().numpy(), found.matrix().numpy(), choice, DAMPING
    )
    pattern: Pattern = Share(choice) if isinstance(choice, float) else KeepPerGroup(*choice)
    new, removed = solve(dense, inverse_factor(found, DAMPING, "m"), pattern)
    same = (removed.numpy() == mask).all(1)
    assert same.sum() >= len(same) - 1
    np.testing.assert_allclose(new.numpy()[same], expected[same], rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(seeds, st.permutations(range(8)), st.integers(1, 7))
def test_masks_do_not_depend_on_the_order_or_batching_of_samples(
    seed: int, order: list[int], cut: int
) -> None:
    x = inputs(seed, 40, sequences=8)
    parts = hessian(x[order][:cut]).merge(hessian(x[order][cut:]))
    one, other = (
        solve(weight(seed, 16, 40), inverse_factor(h, DAMPING, "m"), Share(0.5))
        for h in (hessian(x), parts)
    )
    assert torch.equal(one[1], other[1])
    assert_close(one[0], other[0], rtol=1e-5, atol=1e-6)


def test_correction_leaves_a_smaller_error_than_removal_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    few = torch.randn(12, 32, 12, generator=rng) @ torch.randn(12, 96, generator=rng)
    x = few + 0.3 * torch.randn(12, 32, 96, generator=rng)
    dense = weight(0, 32, 96)
    new, removed = solve(dense, inverse_factor(hessian(x), DAMPING, "m"), Share(0.5))
    corrected = (x @ (new - dense).mT).norm()
    assert corrected < 0.5 * (x @ (dense * removed).mT).norm()


def test_inputs_that_are_always_zero_lose_their_columns() -> None:
    x = 0.05 * inputs(0, 24)  # so small that what stands in for the dead shows in the damping
    x[..., [3, 17]] = 0
    found, dense = hessian(x), weight(0, 5, 24)
    new, removed = solve(dense, inverse_factor(found, DAMPING, "m"), Share(0.5))
    assert removed[:, [3, 17]].all()
    assert int(removed.sum()) == 5 * 24 // 2 + 1
    expected, mask = oracle.column_by_column(
        dense.double().numpy(), found.matrix().numpy(), 0.5, DAMPING
    )
    assert np.array_equal(removed.numpy(), mask)
    np.testing.assert_allclose(new.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_always_zero_inputs_lose_their_columns_even_beyond_what_was_asked_for() -> None:
    x = inputs(0, 24)
    x[..., ::2] = 0
    new, removed = solve(weight(0, 5, 24), inverse_factor(hessian(x), DAMPING, "m"), Share(0.1))
    assert removed[:, ::2].all()
    assert not removed[:, 1::2].any()
    assert torch.equal(new == 0, removed)


def test_without_inputs_magnitudes_decide_and_nothing_moves() -> None:
    dense = weight(0, 6, 32)
    new, removed = solve(dense, without_inputs(32, torch.device("cpu")), Share(0.5))
    assert dense[removed].abs().max() < dense[~removed].abs().min()
    assert torch.equal(new, dense.masked_fill(removed, 0))


def test_a_singular_hessian_is_named_with_its_remedy() -> None:
    few = hessian(inputs(0, 200, sequences=1, positions=3))
    inverse_factor(few, DAMPING, "m")
    with pytest.raises(
        SingularHessian, match=r"blocks\.3\.up.*damping 1e-18.*Raise recipe.damping"
    ):
        inverse_factor(few, 1e-18, "blocks.3.up")
    overflown = hessian(inputs(0, 8))
    overflown.total[2, 2] = torch.inf
    with pytest.raises(SingularHessian):
        inverse_factor(overflown, DAMPING, "m")
