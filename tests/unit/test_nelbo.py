"""The loss that quality is measured with."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from core.evaluation.draws import DRAWS, draws_of
from core.evaluation.nelbo import (
    Estimate,
    agreement,
    draw,
    draw_masks,
    draw_masks_in_blocks,
    judge,
)
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.families import LLADA, LLAMA
from core.models.intake import take_in
from tests.checkpoints import MASK_ID, VOCABULARY
from tests.family_checkpoints import tiny

CLEAN = torch.randint(60, (4, 40), generator=torch.Generator().manual_seed(1))


def nothing(done: int, of: int) -> None:
    pass


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
    judged = judge(decoder, draw_masks(clean, 1e-3, seed=0), group=32, watch=nothing)
    bound = Estimate.of(judged.nelbo)
    assert abs(bound.mean - math.log(VOCABULARY)) < 4 * bound.stderr


def test_the_bound_is_the_formula_draw_by_draw(decoder: Decoder) -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=5, watch=nothing)
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
    whole = judge(decoder, noisy, group=100, watch=nothing)
    monkeypatch.setattr("core.evaluation.nelbo.HEAD_ELEMENTS", VOCABULARY * 3)
    parts = judge(decoder, noisy, group=3, watch=nothing)
    assert_close(parts.nelbo, whole.nelbo, rtol=1e-5, atol=1e-6)
    assert agreement(noisy, whole, parts).mean > 0.999


def test_agreement_counts_masked_positions_only(decoder: Decoder) -> None:
    noisy = draw_masks(CLEAN, 1e-3, seed=3)
    one = judge(decoder, noisy, group=8, watch=nothing)
    assert len(one.choices) == int(noisy.masked.sum())
    same = agreement(noisy, one, one)
    assert (same.mean, same.stderr) == (1.0, 0.0)
    first = int(noisy.masked[0].sum())
    changed = one.choices.clone()
    changed[:first] += 1
    other = replace(one, choices=changed)
    assert agreement(noisy, one, other).mean == pytest.approx(0.75)


def test_dream_predicts_a_position_from_the_one_before(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "dream"))), torch.device("cpu"))
    noisy = draw(CLEAN, decoder.family, 1e-3, seed=3)
    assert not noisy.masked[..., 0].any()
    assert bool((noisy.maskable == 39).all())
    judged = judge(decoder, noisy, group=5, watch=nothing)
    for n in range(4):
        total = 0.0
        for k in range(DRAWS):
            where = noisy.masked[n, k].nonzero()[:, 0]
            ids = CLEAN[n].clone()
            ids[where] = MASK_ID
            with torch.inference_mode():
                logits = decoder.head(decoder.features(ids[None]))[0].double()
            entropy = -logits.log_softmax(-1)[where - 1, CLEAN[n, where]]
            total += float(entropy.sum()) / float(noisy.rate[n, k]) / 39
        assert judged.nelbo[n].item() == pytest.approx(total / DRAWS, rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_autoregressive_loss_is_transformers_own(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path, kind)
    decoder = load(Checkpoint(take_in(folder)), torch.device("cpu"))
    theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    noisy = draw(CLEAN, decoder.family, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=3, watch=nothing)
    with torch.inference_mode():
        for n, ids in enumerate(CLEAN):
            answer = theirs(ids[None], labels=ids[None])
            assert judged.nelbo[n].item() == pytest.approx(answer.loss.item(), rel=1e-5)
            chosen = judged.choices.view(4, 39)[n]
            assert torch.equal(chosen.long(), answer.logits[0, :-1].argmax(-1))


def test_autoregression_has_no_chance_in_it() -> None:
    one, other = draw(CLEAN, LLAMA, 1e-3, seed=3), draw(CLEAN, LLAMA, 0.1, seed=4)
    assert torch.equal(one.masked, other.masked)
    assert draws_of(LLAMA) == 1
    assert int(one.masked.sum()) == 4 * 39


BLOCKWISE = replace(LLADA, attention="block-causal", block_size=16)


def test_block_diffusion_masks_one_block_and_averages_over_it(tiny_model: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny_model)), torch.device("cpu"))
    noisy = draw(CLEAN, BLOCKWISE, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=5, watch=nothing)
    for n in range(4):
        total = 0.0
        for k in range(DRAWS):
            where = noisy.masked[n, k]
            blocks = set((where.nonzero()[:, 0] // 16).tolist())
            assert len(blocks) <= 1
            size = 8 if blocks == {2} else 16
            with torch.inference_mode():
                ids = CLEAN[n].masked_fill(where, MASK_ID)
                logits = decoder.head(decoder.features(ids[None]))[0].double()
            entropy = -logits.log_softmax(-1)[torch.arange(40), CLEAN[n]]
            if blocks:
                assert int(noisy.maskable[n, k]) == size
                total += float((entropy * where).sum()) / float(noisy.rate[n, k]) / size
        assert judged.nelbo[n].item() == pytest.approx(total / DRAWS, rel=1e-5)


def test_blocks_count_as_often_as_they_are_long_at_every_rate() -> None:
    many = draw_masks_in_blocks(torch.zeros(3000, 40, dtype=torch.int64), 16, 1e-3, seed=2)
    # Weighted as the loss weights them, all positions count the same: 1/S each in expectation.
    weight = many.masked / many.rate[..., None] / many.maskable[..., None]
    assert_close(weight.mean((0, 1)), torch.full((40,), 1 / 40), rtol=0.15, atol=0)
    short = (many.maskable == 8).float()
    assert_close(short.mean(0), torch.full((DRAWS,), 0.2), rtol=0, atol=0.03)
    assert abs(short.sum(1).mean().item() - 1.6) < 0.05
