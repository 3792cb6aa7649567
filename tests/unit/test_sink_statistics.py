"""Sink statistics against hand-worked values on constructed attention."""

import math

import pytest
import torch
from torch import Tensor

from core.sinks.scores import sink_set, soft_sink
from core.sinks.statistics import SinkDynamics, summarise

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
