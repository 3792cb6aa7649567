"""Laws that masks and statistics obey whatever the numbers are."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from core.pruning.patterns import lowest_per_row, removed_per_row, up_to_rank
from core.pruning.statistics import DiscountedNorms, SquaredInput

sparsities = st.floats(0.01, 0.99)
seeds = st.integers(0, 10_000)


def scores(seed: int, rows: int, width: int, *, levels: int | None = None) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.rand(rows, width, generator=rng)
    return torch.randint(levels, (rows, width), generator=rng).float()


@settings(deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 40), sparsities, st.sampled_from([None, 1, 3]))
def test_each_row_loses_exactly_its_share(
    seed: int, rows: int, width: int, sparsity: float, levels: int | None
) -> None:
    score = scores(seed, rows, width, levels=levels)
    removed = lowest_per_row(score, removed_per_row(width, sparsity))
    assert removed.sum(1).tolist() == [math.floor(width * sparsity)] * rows


@settings(deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 40), st.data())
def test_selection_is_the_head_of_a_stable_sort(
    seed: int, rows: int, width: int, data: st.DataObject
) -> None:
    score = scores(seed, rows, width, levels=4)
    count = data.draw(st.integers(0, width))
    order = score.argsort(dim=-1, stable=True)[:, :count]
    expected = torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)
    assert torch.equal(lowest_per_row(score, count), expected)


@settings(deadline=None)
@given(seeds, st.integers(2, 30), sparsities, st.floats(0.01, 10))
def test_raising_a_score_never_removes_it(
    seed: int, width: int, sparsity: float, raised: float
) -> None:
    score = scores(seed, 1, width, levels=5)
    count = removed_per_row(width, sparsity)
    before = lowest_per_row(score, count)
    for column in (~before[0]).nonzero()[:, 0]:
        higher = score.clone()
        higher[0, column] += raised
        assert not lowest_per_row(higher, count)[0, column]


@settings(deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 12), sparsities)
def test_rank_threshold_removes_one_more_than_the_share(
    seed: int, rows: int, width: int, sparsity: float
) -> None:
    score = scores(seed, rows, width)
    if torch.unique(score).numel() == score.numel():
        assert up_to_rank(score, sparsity).sum() == math.floor(rows * width * sparsity) + 1


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 15), st.permutations(range(16)))
def test_statistics_ignore_batching_and_order(seed: int, cut: int, order: list[int]) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 7, 5, generator=rng)
    weight = torch.rand(16, 7, generator=rng)
    whole = DiscountedNorms.of(x, weight)
    shuffled, reweighted = x[order], weight[order]
    parts = DiscountedNorms.of(shuffled[:cut], reweighted[:cut]).merge(
        DiscountedNorms.of(shuffled[cut:], reweighted[cut:])
    )
    assert_close(parts.total, whole.total, rtol=1e-6, atol=0)
    squares = SquaredInput.of(shuffled[:cut]).merge(SquaredInput.of(shuffled[cut:]))
    assert squares.sequences == 16
    assert_close(squares.mean_square(), SquaredInput.of(x).mean_square(), rtol=1e-6, atol=0)


def test_discounted_norm_is_one_norm_per_sequence_then_summed() -> None:
    x = torch.tensor([[[3.0], [4.0]], [[6.0], [8.0]]])
    assert DiscountedNorms.of(x, torch.ones(2, 2)).total.tolist() == [15.0]
    assert DiscountedNorms.of(x, torch.tensor([[1.0, 0.0], [0.5, 0.0]])).total.tolist() == [6.0]
