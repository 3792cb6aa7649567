"""The bound that quality is measured with."""

import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from core.evaluation.nelbo import DRAWS, Estimate, agreement, draw_masks, judge
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from tests.checkpoints import MASK_ID, VOCABULARY

CLEAN = torch.randint(60, (4, 40), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def decoder(tiny_model: Path) -> Decoder:
    return load(Checkpoint(take_in(tiny_model)), torch.device("cpu"))


def test_strata_are_equal_and_rates_follow_the_schedule() -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=2)
    strata = (noisy.rate - 1e-3) / (1 - 1e-3) * DRAWS
    assert strata.floor().tolist() == [list(range(DRAWS))] * 4
    many = draw_masks(torch.zeros(400, 40, dtype=torch.int64), 1e-3, seed=2)
    assert_close(many.masked.float().mean((0, 2)), many.rate.mean(0), rtol=0, atol=0.02)


def test_a_model_that_knows_nothing_has_the_vocabularys_entropy(decoder: Decoder) -> None:
    with torch.inference_mode():
        decoder._model.lm_head.weight.zero_()
    clean = torch.zeros(64, 40, dtype=torch.int64)
    judged = judge(decoder, draw_masks(clean, 1e-3, seed=0), group=32, watch=lambda a, b: None)
    bound = Estimate.of(judged.nelbo)
    assert abs(bound.mean - math.log(VOCABULARY)) < 4 * bound.stderr


def test_the_bound_is_the_formula_draw_by_draw(decoder: Decoder) -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=5, watch=lambda a, b: None)
    for n in range(4):
        total = 0.0
        for k in range(DRAWS):
            where = noisy.masked[n, k]
            ids = CLEAN[n].masked_fill(where, MASK_ID)
            with torch.inference_mode():
                logits = decoder.head(decoder.features(ids[None]))[0].double()
            entropy = -logits.log_softmax(-1)[torch.arange(40), CLEAN[n]]
            total += float((entropy * where).sum()) / float(noisy.rate[n, k]) / 40
        assert judged.nelbo[n].item() == pytest.approx(total / DRAWS, rel=1e-5)


def test_groups_and_pieces_do_not_matter(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=3)
    whole = judge(decoder, noisy, group=100, watch=lambda a, b: None)
    monkeypatch.setattr("core.evaluation.nelbo.HEAD_ELEMENTS", VOCABULARY * 3)
    parts = judge(decoder, noisy, group=3, watch=lambda a, b: None)
    assert_close(parts.nelbo, whole.nelbo, rtol=1e-5, atol=1e-6)
    assert agreement(noisy, whole, parts).mean > 0.999


def test_agreement_counts_masked_positions_only(decoder: Decoder) -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=3)
    one = judge(decoder, noisy, group=8, watch=lambda a, b: None)
    assert len(one.choices) == int(noisy.masked.sum())
    same = agreement(noisy, one, one)
    assert (same.mean, same.stderr) == (1.0, 0.0)
    first = int(noisy.masked[0].sum())
    changed = one.choices.clone()
    changed[:first] += 1
    other = type(one)(one.nelbo, changed)
    assert agreement(noisy, one, other).mean == pytest.approx(0.75)
