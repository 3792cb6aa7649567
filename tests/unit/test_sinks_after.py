"""Where sinks are after pruning, on models whose sinks are planted or made up."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.evaluation.sinks_after import SinkShift, first_samples, overlap, watch_pruned
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.pruning.observe import observe
from core.spec import Sinks
from tests.checkpoints import MASK_ID
from tests.engine_runs import ignore
from tests.family_checkpoints import tiny
from tests.noising import forward_noise

CLEAN = torch.randint(8, 60, (10, 24), generator=torch.Generator().manual_seed(2))


def trajectories() -> Trajectories:
    return forward_noise(CLEAN, (10, 30), 50, 1e-3, MASK_ID, seed=1)


def test_a_sink_that_moves_is_told_from_one_that_stays() -> None:
    dense = torch.ones(1, 2, 20)
    dense[0, :, 4] = 21  # of 40
    pruned = torch.ones(1, 2, 20)
    pruned[0, 0, 4] = 21
    pruned[0, 1, 10] = 21
    found = SinkShift.of(dense, pruned, 2.0)
    assert found.dense_share.item() == pytest.approx(21 / 40)
    assert found.pruned_share.item() == pytest.approx(21 / 40)
    assert found.pruned_share_there.item() == pytest.approx((21 + 1) / 80)
    assert found.dense_temporal_variance.item() == 0
    assert found.pruned_temporal_variance.item() == pytest.approx(9)
    assert found.jaccard.item() == pytest.approx(1 / 2)
    same = SinkShift.of(dense, dense, 2.0)
    assert same.jaccard.item() == 1
    assert torch.equal(same.pruned_share_there, same.dense_share)


def test_timesteps_without_sinks_are_left_out() -> None:
    none, one = torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2, 3, 4, dtype=torch.bool)
    one[0, 1, 2] = True
    assert overlap(none, one)[0].item() == 0
    assert overlap(one, one)[0].item() == 1
    assert overlap(one, one)[1].isnan()


def test_the_first_samples_keep_all_that_belongs_to_them() -> None:
    whole = trajectories()
    some = first_samples(whole, 4)
    for field in fields(whole):
        before, after = getattr(whole, field.name), getattr(some, field.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(after, before[:4]), field.name
        else:
            assert after == before
    assert torch.equal(first_samples(whole, 99).noised, whole.noised)


def test_the_pruned_model_is_watched_on_what_the_dense_one_was(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "llada"))), torch.device("cpu"))
    seen = observe(decoder, trajectories(), Sinks(), held_for=None, group=3, watch=ignore)
    again = watch_pruned(decoder, trajectories(), Sinks(), group=3, watch=ignore)
    assert again.shape == (8, 2, 2, 24)
    assert_close(again, seen.kept[:8], rtol=1e-5, atol=1e-5)
