"""Sink statistics against hand-worked values on constructed attention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.sinks.scores import discount, sink_set, soft_sink
from core.sinks.statistics import STATISTICS, SinkDynamics, persistence_counts, summarise
from core.spec import Sinks
from tests import sink_oracle

POSITIONS, TIMESTEPS = 40, 10


def peaks(at: list[int], height: float = 20.0) -> Tensor:
    """One sample: mass 1 everywhere, and `height` at one position per timestep."""
    mass = torch.ones(1, len(at), POSITIONS)
    for t, position in enumerate(at):
        mass[0, t, position] = height
    return mass


def test_a_fixed_sink() -> None:
    found = SinkDynamics.of(peaks([7] * TIMESTEPS), 2.0)
    assert found.sinks.sum() == TIMESTEPS
    assert found.persistence[0, 7] == 1
    assert found.temporal_variance().item() == 0
    assert found.stable_share(0.8).item() == 1
    assert found.jaccard().item() == 1
    share = 20 / (20 + POSITIONS - 1)
    assert found.mass_share().item() == pytest.approx(share)
    background = 1 / (20 + POSITIONS - 1)
    mean = 1 / POSITIONS
    by_hand = ((share - mean) ** 2 + (POSITIONS - 1) * (background - mean) ** 2) / POSITIONS
    assert found.spatial_variance().item() == pytest.approx(by_hand)


def test_a_sink_that_walks_one_position_a_step() -> None:
    found = SinkDynamics.of(peaks(list(range(5, 5 + TIMESTEPS))), 2.0)
    closed_form = (TIMESTEPS**2 - 1) / 12
    assert found.centroid[0].tolist() == list(range(5, 5 + TIMESTEPS))
    assert found.temporal_variance().item() == pytest.approx(closed_form)
    assert found.temporal_variance_relative().item() == pytest.approx(closed_form / POSITIONS**2)
    assert found.stable_share(0.8).item() == 0
    assert found.jaccard().item() == 0


def test_two_sinks_have_their_centroid_between_them_by_mass() -> None:
    mass = peaks([10])
    mass[0, 0, 30] = 60.0
    found = SinkDynamics.of(mass, 0.5)
    assert found.centroid.item() == pytest.approx((20 * 10 + 60 * 30) / 80)


def test_uniform_attention_has_no_sinks() -> None:
    found = SinkDynamics.of(torch.ones(2, TIMESTEPS, POSITIONS), 2.0)
    assert not found.sinks.any()
    assert found.timesteps_without_sink() == 2 * TIMESTEPS
    assert found.centroid.isnan().all()
    assert found.mass_share().tolist() == [0, 0]
    for undefined in (found.temporal_variance(), found.stable_share(0.8), found.jaccard()):
        assert summarise(undefined) == (None, None)


def test_a_timestep_without_a_sink_is_left_out_of_the_centroids_variance() -> None:
    mass = peaks([5, 5, 5])
    mass[0, 1] = 1.0
    found = SinkDynamics.of(mass, 2.0)
    assert found.timesteps_without_sink() == 1
    assert found.temporal_variance().item() == 0


def test_share_of_sinks_on_masks() -> None:
    mass = peaks([3, 4, 5, 6])
    masked = torch.zeros(1, 4, POSITIONS, dtype=torch.bool)
    masked[0, 0, 3] = masked[0, 1, 30] = True
    assert SinkDynamics.of(mass, 2.0).masked_share(masked).item() == 0.25


def test_persistence_that_meets_the_bound_exactly_is_stable() -> None:
    found = SinkDynamics.of(peaks([7] * 8 + [9, 11]), 2.0)
    assert found.persistence[0, 7].item() == pytest.approx(0.8)
    assert found.stable_share(0.8).item() == pytest.approx(1 / 3)


def test_soft_sinks_follow_the_formula() -> None:
    mass = torch.tensor([1.0, 2.0, 3.0, 10.0])
    deviation = math.sqrt(sum((m - 4) ** 2 for m in (1, 2, 3, 10)) / 4)
    for m, phi in zip(mass.tolist(), soft_sink(mass, 2.0, 5.0).tolist(), strict=True):
        by_hand = 1 / (1 + math.exp(-5 * (m - (4 + 2 * deviation))))
        assert phi == pytest.approx(by_hand, rel=1e-5)
    assert sink_set(mass, 1.0).tolist() == [False, False, False, True]


def test_standard_errors_are_over_samples() -> None:
    mean, error = summarise(torch.tensor([1.0, 2.0, 3.0, math.nan]))
    assert mean == pytest.approx(2.0)
    assert error == pytest.approx(1 / math.sqrt(3))
    assert summarise(torch.tensor([5.0])) == (5.0, None)


def growing(first: int, step: int, timesteps: int = TIMESTEPS) -> Tensor:
    """(timesteps, positions) bool: prefixes that start with `first` positions and grow by `step`."""
    lengths = first + step * torch.arange(timesteps)
    return torch.arange(POSITIONS)[None] < lengths[:, None]


def told(found: SinkDynamics, norms: Tensor | None = None) -> dict[str, float]:
    """All statistics of one trajectory, on which no position is corrupted."""
    nothing = torch.zeros(found.sinks.shape[-2:], dtype=torch.bool)
    even = torch.ones(found.sinks.shape[-2:]) if norms is None else norms
    values = found.all_statistics(nothing, even, 0.8)[0]
    return dict(zip(STATISTICS, values.tolist(), strict=True))


def test_a_fixed_sink_of_a_growing_prefix() -> None:
    """Mass of positions that do not exist yet says nothing, however large."""
    present = growing(10, 3)
    mass = peaks([0] * TIMESTEPS).where(present, 1000.0)
    found = told(SinkDynamics.of(mass, 2.0, present))
    assert found["temporal_variance"] == 0
    assert (found["stable_share"], found["jaccard"], found["ends_share"]) == (1, 1, 1)
    assert found["sinks_per_step"] == 1
    lengths = [10 + 3 * t for t in range(TIMESTEPS)]
    share = sum(20 / (20 + n - 1) for n in lengths) / TIMESTEPS
    assert found["mass_share"] == pytest.approx(share)


def test_a_sink_at_the_end_of_a_growing_prefix_walks_with_it() -> None:
    present = growing(10, 1)
    mass = peaks([9 + t for t in range(TIMESTEPS)])
    dynamics = SinkDynamics.of(mass, 2.0, present)
    found = told(dynamics)
    assert found["temporal_variance"] == pytest.approx((TIMESTEPS**2 - 1) / 12)
    assert (found["jaccard"], found["ends_share"], found["sinks_per_step"]) == (0, 1, 1)
    # A position is judged from when it exists: the last one stands for all the time there is.
    for t in range(TIMESTEPS):
        assert dynamics.persistence[0, 9 + t].item() == pytest.approx(1 / (TIMESTEPS - t))
    assert found["stable_share"] == pytest.approx(1 / TIMESTEPS)
    assert persistence_counts(dynamics).tolist() == [
        sum(1 for left in range(1, TIMESTEPS + 1) if -(-TIMESTEPS // left) == k)
        for k in range(1, TIMESTEPS + 1)
    ]


def test_even_attention_to_a_growing_prefix_has_no_sinks_and_no_variance() -> None:
    present = growing(4, 4)
    lengths = present.sum(-1, keepdim=True)
    found = told(SinkDynamics.of((1.0 / lengths).where(present, 0.0)[None], 2.0, present))
    assert found["spatial_variance"] == pytest.approx(0, abs=1e-15)
    assert (found["sinks_per_step"], found["mass_share"]) == (0, 0)
    for name in ("temporal_variance", "stable_share", "jaccard", "ends_share", "masked_share",
                 "value_norm_ratio"):  # fmt: skip
        assert math.isnan(found[name])


def test_soft_sinks_and_discounts_look_at_what_is_present() -> None:
    present = growing(10, 3)[None]
    mass = peaks([0] * TIMESTEPS)
    inside = [mass[0, t, : 10 + 3 * t] for t in range(TIMESTEPS)]
    soft = soft_sink(mass.where(present, 1000.0), 2.0, 5.0, present)
    everything = discount(mass, "discount-all", Sinks(), present)
    transient = discount(mass, "discount-transient", Sinks(), present)
    for t, row in enumerate(inside):
        length = len(row)
        torch.testing.assert_close(soft[0, t, :length], soft_sink(row, 2.0, 5.0))
        torch.testing.assert_close(everything[0, t, :length], 1 - soft_sink(row, 2.0, 5.0))
        assert soft[0, t, length:].sum() == everything[0, t, length:].sum() == 0
        assert transient[0, t, 0] == 1
    assert torch.equal(discount(mass, "keep", Sinks(), present), present.float())


def test_two_sinks_that_take_turns() -> None:
    found = told(SinkDynamics.of(peaks([4, 24] * 5), 2.0))
    assert found["temporal_variance"] == pytest.approx(100)
    assert (found["jaccard"], found["stable_share"], found["transient_share"]) == (0, 0, 1)
    both = SinkDynamics.of(peaks([4, 24] * 5), 2.0)
    assert both.persistence[0, [4, 24]].tolist() == [0.5, 0.5]
    assert persistence_counts(both).tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0]


def test_values_at_sinks_are_held_against_those_of_the_same_timestep() -> None:
    norms = torch.ones(TIMESTEPS, POSITIONS) * torch.arange(1, TIMESTEPS + 1)[:, None]
    norms[:, 7] *= 0.25
    assert told(SinkDynamics.of(peaks([7] * TIMESTEPS), 2.0), norms)["value_norm_ratio"] == 0.25
    present = growing(10, 3)
    unborn = norms.where(present, 1e9)
    fixed = SinkDynamics.of(peaks([7] * TIMESTEPS), 2.0, present)
    assert told(fixed, unborn)["value_norm_ratio"] == 0.25


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999),
    steps=st.integers(1, 5),
    positions=st.integers(2, 12),
    first=st.integers(1, 12),
)
def test_all_statistics_are_those_of_plain_loops(
    seed: int, steps: int, positions: int, first: int
) -> None:
    rng = np.random.default_rng(seed)
    mass, norms = rng.gamma(0.3, size=(2, 3, steps, positions))
    masked = rng.random((steps, positions)) < 0.5
    grown = np.arange(positions) < first + np.arange(steps)[:, None]
    for present in (None, grown):
        there = None if present is None else torch.from_numpy(present)
        dynamics = SinkDynamics.of(torch.from_numpy(mass), 0.9, there)
        ours = dynamics.all_statistics(torch.from_numpy(masked), torch.from_numpy(norms), 0.8)
        for n in range(3):
            theirs = sink_oracle.statistics(mass[n], norms[n], masked, present, kappa=0.9)
            expected = [theirs[name] for name in STATISTICS]
            np.testing.assert_allclose(ours[n].numpy(), expected, rtol=1e-9, atol=1e-12)
