"""Sharing sparsity out over blocks: the whole is met exactly, and the rules favour whom they say."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidSpec
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning import probes
from core.pruning.allocation import (
    MOST,
    balanced,
    check_list,
    early_sparser,
    exact_counts,
    less_where_more,
)
from core.pruning.observe import measure_all_blocks
from core.pruning.pattern_values import Exactly
from core.pruning.statistics import SquaredInput
from core.pruning.targets import Targets, make_targets
from core.spec import parse_spec
from tests.checkpoints import VOCABULARY, tiny_llada
from tests.engine_runs import ignore

sparsities = st.floats(0.01, 0.98)
sizes = st.lists(st.integers(1, 5000), min_size=1, max_size=12)


@settings(deadline=None)
@given(sizes, sparsities, st.data())
def test_balanced_shares_have_the_asked_for_mean(
    sizes: list[int], sparsity: float, data: st.DataObject
) -> None:
    shares = data.draw(st.lists(st.floats(-0.3, 1.2), min_size=len(sizes), max_size=len(sizes)))
    found = balanced(shares, sizes, sparsity)
    mean = sum(s * n for s, n in zip(found, sizes, strict=True)) / sum(sizes)
    assert mean == pytest.approx(sparsity, abs=1e-9)
    assert all(0 <= s <= 1 for s in found)
    order = sorted(range(len(shares)), key=lambda i: shares[i])
    assert [found[i] for i in order] == sorted(found)


@settings(deadline=None)
@given(sizes, sparsities, st.data())
def test_counts_add_up_to_the_floor_of_the_whole(
    sizes: list[int], sparsity: float, data: st.DataObject
) -> None:
    named = {f"m{i}": size for i, size in enumerate(sizes)}
    raw = data.draw(st.lists(st.floats(0, 1), min_size=len(sizes), max_size=len(sizes)))
    shares = dict(zip(named, balanced(raw, sizes, sparsity), strict=True))
    counts = exact_counts(shares, named, sparsity)
    assert sum(c.removed for c in counts.values()) == math.floor(
        Fraction(str(sparsity)) * sum(sizes)
    )
    for name, size in named.items():
        assert 0 <= counts[name].removed <= size
        assert abs(counts[name].removed - shares[name] * size) <= 1 + 1e-6


def test_what_is_missing_goes_to_those_that_lost_most_in_rounding() -> None:
    sizes = dict.fromkeys("abcd", 10)
    counts = exact_counts({"a": 0.51, "b": 0.58, "c": 0.57, "d": 0.54}, sizes, 0.55)
    assert [c.removed for c in counts.values()] == [5, 6, 6, 5]
    ties = exact_counts(dict.fromkeys("abcd", 0.55), sizes, 0.55)
    assert [c.removed for c in ties.values()] == [6, 6, 5, 5]


def test_early_blocks_lose_more() -> None:
    assert early_sparser(0.5, 5, 0.1) == pytest.approx([0.6, 0.55, 0.5, 0.45, 0.4])
    assert early_sparser(0.5, 1, 0.1) == [0.5]


def test_what_measures_more_loses_less_within_the_spread() -> None:
    shares = less_where_more(0.5, [1.0, 3.0, 2.0], 0.08)
    assert shares == pytest.approx([0.58, 0.42, 0.5])
    assert less_where_more(0.5, [2.0, 2.0], 0.08) == [0.5, 0.5]


def test_a_list_must_fit_the_model_and_the_sparsity() -> None:
    check_list([0.4, 0.6], [10, 10], 0.5)
    with pytest.raises(InvalidSpec, match="lists 2 shares and the model has 3 blocks"):
        check_list([0.4, 0.6], [10, 10, 10], 0.5)
    with pytest.raises(InvalidSpec, match=r"removes 0\.5500.*Ask for sparsity 0\.5500"):
        check_list([0.4, 0.6], [10, 30], 0.5)


@pytest.fixture
def decoder(tmp_path: Path) -> Decoder:
    return load(Checkpoint(take_in(tiny_llada(tmp_path, layers=4))), torch.device("cpu"))


CLEAN = torch.randint(VOCABULARY - 4, (6, 20), generator=torch.Generator().manual_seed(0))


def targets_of(decoder: Decoder, recipe: dict[str, Any], sparsity: float = 0.5) -> Targets:
    spec = parse_spec({"model": {"source": "file:///x"}, "sparsity": sparsity, "recipe": recipe})
    return make_targets(decoder, spec, CLEAN, group=3, watch=ignore)


@pytest.mark.parametrize(
    "recipe",
    [
        {"allocation": "owl", "outlier_threshold": 3},
        {"allocation": "early-sparser", "allocation_spread": 0.3},
        {"allocation": "sensitivity"},
        {"allocation": [0.7, 0.6, 0.45, 0.25]},
    ],
    ids=lambda r: str(r["allocation"]),
)
@pytest.mark.parametrize("sparsity", [0.5, 0.37])
def test_every_allocation_meets_the_whole_exactly(
    decoder: Decoder, recipe: dict[str, Any], sparsity: float
) -> None:
    if isinstance(recipe["allocation"], list):
        recipe = {"allocation": [s - 0.5 + sparsity for s in recipe["allocation"]]}
    dense = [m.linear.weight.clone() for m in decoder.all_matrices()]
    found = targets_of(decoder, recipe, sparsity)
    total = sum(w.numel() for w in dense)
    removed = [p.removed for p in found.patterns.values() if isinstance(p, Exactly)]
    assert len(removed) == len(dense)
    assert sum(removed) == math.floor(Fraction(str(sparsity)) * total)
    assert found.shares is not None
    assert len(set(found.shares)) > 1
    for matrix, before in zip(decoder.all_matrices(), dense, strict=True):
        assert torch.equal(matrix.linear.weight, before), "a probe must leave the model as it was"


def test_uniform_hands_out_the_pattern_itself(decoder: Decoder) -> None:
    found = targets_of(decoder, {})
    assert found.shares is None
    assert len(set(found.patterns.values())) == 1


def test_a_block_with_planted_outliers_keeps_most_with_owl(decoder: Decoder) -> None:
    matrix = decoder.matrices(2)[4]
    matrix.linear.weight[:, ::7] *= 40
    measured = probes.outlier_shares(decoder, CLEAN, 5.0, group=2, watch=ignore)
    assert max(range(4), key=measured.__getitem__) == 2
    shares = targets_of(decoder, {"allocation": "owl"}).shares
    assert shares is not None
    assert min(range(4), key=shares.__getitem__) == 2


def test_an_outlier_share_is_that_of_scores_above_the_mean(decoder: Decoder) -> None:
    """Recomputed from whole score matrices."""
    found = measure_all_blocks(
        decoder, probes.everything(CLEAN), SquaredInput, group=6, watch=ignore
    )
    measured = probes.outlier_shares(decoder, CLEAN, 2.0, group=4, watch=ignore)
    for block, share in enumerate(measured):
        scores = []
        for matrix in decoder.matrices(block):
            statistic = found[matrix.source]
            norm = (statistic.total / statistic.sequences).sqrt()
            scores.append((matrix.linear.weight.abs() * norm).flatten())
        whole = torch.cat(scores)
        expected = (whole > 2 * whole.mean()).double().mean()
        assert share == pytest.approx(float(expected), abs=2e-4)


def test_the_block_that_prunes_worst_keeps_most_with_sensitivity(decoder: Decoder) -> None:
    measure: Callable[..., list[float]] = probes.reconstruction_errors
    errors = measure(decoder, CLEAN, 0.5, magnitude=False, group=2, watch=ignore)
    assert errors == pytest.approx(
        measure(decoder, CLEAN, 0.5, magnitude=False, group=6, watch=ignore), abs=1e-4
    )
    shares = targets_of(decoder, {"allocation": "sensitivity"}).shares
    assert shares is not None
    assert min(range(4), key=shares.__getitem__) == max(range(4), key=errors.__getitem__)
    assert max(shares) - min(shares) == pytest.approx(2 * 0.08)
    harder = measure(decoder, CLEAN, 0.9, magnitude=False, group=2, watch=ignore)
    assert all(h > e for h, e in zip(harder, errors, strict=True))


def test_no_rule_empties_a_block() -> None:
    found = balanced(early_sparser(0.8, 5, 0.5), [10] * 5, 0.8)
    assert max(found) == MOST
    assert sum(found) == pytest.approx(4.0)
    assert balanced([2.0, 2.0], [1, 1], 0.7) == pytest.approx([0.7, 0.7])
