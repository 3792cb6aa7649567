"""Laws that masks and statistics obey whatever the numbers are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from core.errors import InvalidSpec
from core.pruning.pattern_values import Exactly, KeepPerGroup, Share, check_width
from core.pruning.patterns import (
    choose_by_row,
    choose_overall,
    lowest_per_column,
    lowest_per_row,
    removed_per_row,
)
from core.pruning.statistics import DiscountedNorms, Hessian, SquaredInput, Statistic

levels = st.sampled_from([None, 1, 3])
kinds = st.sampled_from([DiscountedNorms, SquaredInput, Hessian])
groups = st.integers(2, 32).flatmap(
    lambda group: st.builds(KeepPerGroup, st.integers(1, group - 1), st.just(group))
)
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
    score = scores(seed, 2, width, levels=5)
    for choose in (choose_by_row, choose_overall):
        for row, column in (~choose(score, Share(sparsity))).nonzero().tolist():
            higher = score.clone()
            higher[row, column] += raised
            assert not choose(higher, Share(sparsity))[row, column]


@settings(deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 12), sparsities, levels)
def test_rank_threshold_removes_one_more_than_the_share(
    seed: int, rows: int, width: int, sparsity: float, levels: int | None
) -> None:
    """Ties included, of which bfloat16 has many."""
    score = scores(seed, rows, width, levels=levels)
    removed = choose_overall(score, Share(sparsity))
    assert removed.sum() == min(math.floor(rows * width * sparsity) + 1, rows * width)
    if not removed.all():
        assert score[removed].max() <= score[~removed].min()


@settings(deadline=None)
@given(seeds, st.integers(1, 5), st.integers(1, 4), groups, levels)
def test_every_group_keeps_exactly_n(
    seed: int, rows: int, count: int, pattern: KeepPerGroup, levels: int | None
) -> None:
    score = scores(seed, rows, count * pattern.group, levels=levels)
    in_columns = lowest_per_column(
        score.view(-1, pattern.group).mT, pattern.group - pattern.kept
    ).mT.reshape(score.shape)
    assert torch.equal(in_columns, choose_by_row(score, pattern))
    for choose in (choose_by_row, choose_overall):
        kept = ~choose(score, pattern)
        per_group = kept.view(rows, count, pattern.group).sum(-1)
        assert per_group.eq(pattern.kept).all()
        for row in range(rows):
            for g in range(count):
                part = slice(g * pattern.group, (g + 1) * pattern.group)
                chosen = kept[row, part]
                assert score[row, part][chosen].min() >= score[row, part][~chosen].max()


@settings(deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 30), st.data())
def test_an_exact_count_is_met_and_rows_differ_by_one_at_most(
    seed: int, rows: int, width: int, data: st.DataObject
) -> None:
    score = scores(seed, rows, width, levels=3)
    count = data.draw(st.integers(0, rows * width))
    removed = choose_by_row(score, Exactly(count))
    assert removed.sum() == count
    assert removed.sum(1).max() - removed.sum(1).min() <= 1
    assert choose_overall(score, Exactly(count)).sum() == count


@settings(deadline=None)
@given(seeds, st.integers(1, 3), groups, st.floats(0.01, 10))
def test_raising_a_score_never_removes_it_from_its_group(
    seed: int, count: int, pattern: KeepPerGroup, raised: float
) -> None:
    score = scores(seed, 1, count * pattern.group, levels=5)
    before = choose_by_row(score, pattern)
    for column in (~before[0]).nonzero()[:, 0]:
        higher = score.clone()
        higher[0, column] += raised
        assert not choose_by_row(higher, pattern)[0, column]


def test_a_ragged_last_group_is_refused_by_name() -> None:
    check_width("block.3.down", 12, KeepPerGroup(2, 4))
    with pytest.raises(InvalidSpec, match=r"block.3.down has 10 inputs.*no multiple of 4"):
        check_width("block.3.down", 10, KeepPerGroup(2, 4))


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 15), st.permutations(range(16)), kinds)
def test_statistics_ignore_batching_and_order(
    seed: int, cut: int, order: list[int], kind: type[Statistic]
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(16, 7, 5, generator=rng), torch.rand(16, 7, generator=rng)
    whole = kind.of(x, weight)
    shuffled, reweighted = x[order], weight[order]
    first = kind.of(shuffled[:cut], reweighted[:cut])
    second = kind.of(shuffled[cut:], reweighted[cut:])
    merged = first.merge(second)
    first.update(shuffled[cut:], reweighted[cut:])
    for parts in (merged, first):
        assert (parts.sequences, parts.tokens) == (16, 16 * 7)
        assert_close(parts.total, whole.total, rtol=1e-6, atol=1e-9)
    # Sums in float64 of float32 terms: what float32 sees of them does not depend on the order.
    assert_close(merged.total.float(), whole.total.float(), rtol=2e-7, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seeds, kinds)
def test_a_statistic_of_some_tokens_is_that_of_the_others_at_zero(
    seed: int, kind: type[Statistic]
) -> None:
    """An expert sees some rows only; the same sequences with all other rows zero say the same."""
    rng = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(4, 6, 3, generator=rng), torch.rand(4, 6, generator=rng)
    routed = torch.rand(4, 6, generator=rng) < 0.4
    tokens = routed.flatten().nonzero()[:, 0]
    some = kind.of(x.flatten(0, 1)[tokens], weight, tokens)
    assert_close(some.total, kind.of(x * routed[..., None], weight).total, rtol=1e-5, atol=1e-6)
    assert (some.sequences, some.tokens) == (4, len(tokens))


def test_discounted_norm_is_one_norm_per_sequence_then_summed() -> None:
    x = torch.tensor([[[3.0], [4.0]], [[6.0], [8.0]]])
    assert DiscountedNorms.of(x, torch.ones(2, 2)).total.tolist() == [15.0]
    assert DiscountedNorms.of(x, torch.tensor([[1.0, 0.0], [0.5, 0.0]])).total.tolist() == [6.0]


def test_a_hessian_is_twice_the_mean_gram_matrix() -> None:
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
    found = Hessian.of(x, torch.tensor([[1.0], [2.0]]))
    assert found.matrix().tolist() == [[1 + 36, 2], [2, 4]]
