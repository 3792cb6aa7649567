"""Losses by timestep and by quarter of the text add up to the whole loss."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from core.evaluation import bands
from core.evaluation.nelbo import draw, judge
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.report.depth_facts import band_facts
from tests.family_checkpoints import tiny

CLEAN = torch.randint(60, (3, 38), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["llada", "dream", "llama", "llada2_moe"])
def test_bands_average_to_the_loss(tmp_path: Path, kind: str) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, kind))), torch.device("cpu"))
    noisy = draw(CLEAN, decoder.family, 1e-3, seed=3)
    one = judge(decoder, noisy, group=5, watch=lambda done, of: None)
    with torch.inference_mode():
        decoder.matrices(0)[0].linear.weight.zero_()
    other = judge(decoder, noisy, group=5, watch=lambda done, of: None)
    found = band_facts(noisy, one, other)
    assert [(b.lower, b.upper) for b in found] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    whole = sum(band.draws for band in found)
    for name, answer in (("dense", one), ("pruned", other)):
        total = sum(band.draws * getattr(band, name) for band in found) / whole
        assert total == pytest.approx(float(answer.nelbo.mean()), rel=1e-12)
    difference = sum(band.draws * band.difference for band in found) / whole
    assert difference == pytest.approx(float((other.nelbo - one.nelbo).mean()), rel=1e-9)
    assert_close(one.losses.mean(1), one.nelbo, rtol=0, atol=0)


def test_a_band_of_noise_has_the_draws_of_its_levels(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "llada"))), torch.device("cpu"))
    noisy = draw(CLEAN, decoder.family, 1e-3, seed=3)
    level = (noisy.rate - 1e-3) / (1 - 1e-3)
    judged = judge(decoder, noisy, group=5, watch=lambda done, of: None)
    found = bands.by_band(noisy, judged.losses, judged.quarters)
    for band, (lower, upper) in enumerate(bands.edges()):
        within = (lower <= level) & (level < upper)
        assert within.sum(1).tolist() == [2, 2, 2]
        assert_close(found[:, band], judged.losses[within].view(3, 2).mean(1), rtol=1e-12, atol=0)
    assert bands.sizes(noisy) == [6, 6, 6, 6]


def test_a_quarter_of_the_text_has_its_positions(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "llama"))), torch.device("cpu"))
    noisy = draw(CLEAN, decoder.family, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=2, watch=lambda done, of: None)
    with torch.inference_mode():
        logits = decoder.head(decoder.features(CLEAN))[:, :-1].double()
    entropy = -logits.log_softmax(-1).gather(-1, CLEAN[:, 1:, None])[..., 0]
    found = bands.by_band(noisy, judged.losses, judged.quarters)
    # Positions 1…9, 10…18, 19…28, 29…37 of 38: the first is not predicted.
    for band, (begin, end) in enumerate([(1, 10), (10, 19), (19, 29), (29, 38)]):
        assert_close(found[:, band], entropy[:, begin - 1 : end - 1].mean(1), rtol=1e-5, atol=0)
        assert bands.sizes(noisy)[band] == 3 * (end - begin)


def test_a_quarter_in_which_nothing_is_predicted_is_left_out(tmp_path: Path) -> None:
    decoder = load(Checkpoint(take_in(tiny(tmp_path, "llama"))), torch.device("cpu"))
    noisy = draw(CLEAN[:, :3], decoder.family, 1e-3, seed=3)
    judged = judge(decoder, noisy, group=2, watch=lambda done, of: None)
    found = band_facts(noisy, judged, judged)
    assert [(band.lower, band.draws) for band in found] == [(0.25, 3), (0.5, 3)]
    assert {band.difference for band in found} == {0.0}
