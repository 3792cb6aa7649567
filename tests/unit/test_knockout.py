"""Hiding the sink that a model leans on costs it its answers; hiding other positions does not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from core.evaluation.bands import by_band
from core.evaluation.in_depth import CONDITIONS, PASSES, Condition
from core.evaluation.knockout import (
    FoundSinks,
    KnockedOut,
    hidden_in,
    knock_out,
    prefixes,
    random_ranks,
    sinks_of,
)
from core.evaluation.nelbo import NoisyTokens, draw, judge, next_tokens
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.spec import Sinks
from tests.family_checkpoints import tiny
from tests.planted import ANSWER, SINK_TOKEN, lean_on_sink, plant_sink

SAMPLES, DRAWS, POSITIONS = 3, 8, 40


def leaning(folder: Path, family: str) -> Decoder:
    decoder = load(Checkpoint(take_in(tiny(folder, family))), torch.device("cpu"))
    plant_sink(decoder)
    lean_on_sink(decoder)
    return decoder


def answers() -> Tensor:
    return torch.full((SAMPLES, POSITIONS), ANSWER)


def standing(decoder: Decoder) -> NoisyTokens:
    """The sink token comes first, and what follows is what it gives away."""
    clean = answers()
    clean[:, 0] = SINK_TOKEN
    return draw(clean, decoder.family, 1e-3, seed=3)


def walking() -> NoisyTokens:
    """Of two sink tokens each draw shows the other one, beside a few answers."""
    clean, places = answers(), torch.tensor([6, 24]).repeat(DRAWS // 2)
    clean[:, places] = SINK_TOKEN
    masked = torch.ones(SAMPLES, DRAWS, POSITIONS, dtype=torch.bool)
    masked[..., :: POSITIONS // 10] = False
    masked[..., places] = True
    masked[:, torch.arange(DRAWS), places] = False
    return NoisyTokens(clean, masked, torch.full((SAMPLES, DRAWS), 0.8), masked.sum(-1))


def knocked(decoder: Decoder, noisy: NoisyTokens) -> dict[Condition, KnockedOut]:
    steps: list[int] = []

    def watch(done: int, of: int) -> None:
        assert of == PASSES * noisy.rate.numel()
        steps.append(done)

    found = knock_out(decoder, noisy, Sinks(), seed=1, group=5, watch=watch)
    assert steps == sorted(steps)
    assert steps[-1] <= PASSES * noisy.rate.numel()
    return found


def rise(found: dict[Condition, KnockedOut], condition: Condition) -> float:
    return float((found[condition].losses - found["none"].losses).mean())


@pytest.mark.parametrize("family", ["dream", "qwen2"])
def test_a_model_that_leans_on_a_standing_sink_loses_its_answers(
    tmp_path: Path, family: str
) -> None:
    decoder = leaning(tmp_path, family)
    found = knocked(decoder, standing(decoder))
    assert rise(found, "all") > 1
    assert abs(rise(found, "random")) < 0.01
    assert torch.equal(found["stable"].losses, found["all"].losses)
    assert torch.equal(found["transient"].losses, found["none"].losses)
    counts = {name: each.hidden for name, each in found.items()}
    assert counts == {
        "none": 0, "all": 1, "stable": 1, "transient": 0,
        "random": 1, "random-stable": 1, "random-transient": 0,
    }  # fmt: skip


def test_a_sink_that_walks_is_transient(tmp_path: Path) -> None:
    decoder = leaning(tmp_path, "dream")
    found = knocked(decoder, walking())
    assert rise(found, "all") > 1
    assert abs(rise(found, "random")) < 0.01
    assert torch.equal(found["transient"].losses, found["all"].losses)
    assert torch.equal(found["stable"].losses, found["none"].losses)


def test_nothing_hidden_is_the_loss_itself_and_the_same_question_is_asked_once(
    tmp_path: Path,
) -> None:
    decoder = leaning(tmp_path, "dream")
    noisy = standing(decoder)
    before = decoder.block_sequences
    found = knocked(decoder, noisy)
    asked = (decoder.block_sequences - before) / len(decoder.blocks)
    # Transient sinks there are none, and stable ones are all: what is left are three draws.
    assert asked == (1 + 1 + 3) * SAMPLES * DRAWS
    loss = judge(decoder, noisy, group=7, watch=lambda done, of: None)
    assert_close(found["none"].losses, loss.nelbo, rtol=1e-6, atol=0)
    bands = by_band(noisy, loss.losses, loss.quarters)
    assert_close(found["none"].bands, bands, rtol=1e-6, atol=0)
    for each in found.values():
        assert_close(each.bands.mean(1), each.losses, rtol=1e-12, atol=0)


def test_sinks_of_noised_copies_are_those_of_their_timestep() -> None:
    mass = torch.ones(2, 4, 20)
    mass[0, :, 0] = 50  # at all timesteps
    mass[0, 2, 7] = 50  # at one of four
    mass[1, :3, 5] = 50  # at three of four
    masked = torch.zeros(2, 4, 20, dtype=torch.bool)
    noisy = NoisyTokens(torch.zeros(2, 20), masked, torch.ones(2, 4), masked.sum(-1))
    found = sinks_of(mass.flatten(0, 1), noisy, Sinks(stable_persistence=0.75))
    assert found.every.nonzero().tolist() == [
        [0, 0], [1, 0], [2, 0], [2, 7], [3, 0], [4, 5], [5, 5], [6, 5]
    ]  # fmt: skip
    assert found.transient.nonzero().tolist() == [[2, 7]]
    found = sinks_of(mass.flatten(0, 1), noisy, Sinks(stable_persistence=0.76))
    assert found.stable.nonzero().tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]


def test_sinks_of_a_growing_text_persist_over_the_prefixes_that_have_them() -> None:
    noisy = next_tokens(torch.zeros(1, 40, dtype=torch.int64))
    lengths = prefixes(40, 2.0)
    assert lengths == (10, 15, 20, 25, 30, 35, 40)  # of five positions none is two deviations out
    mass = torch.ones(1, len(lengths), 40)
    mass[0, :, 0] = 50
    mass[0, 1, 3] = 50
    mass[0, 5:, 33] = 50  # at each of the two that have it
    found = sinks_of(mass, noisy, Sinks())
    assert found.every.nonzero().tolist() == [[0, 0], [0, 3], [0, 33]]
    assert found.stable.nonzero().tolist() == [[0, 0], [0, 33]]


def test_controls_are_as_many_other_positions() -> None:
    rng = torch.Generator().manual_seed(0)
    every = torch.rand(50, 24, generator=rng) < 0.15
    found = FoundSinks(every, every & (torch.rand(50, 24, generator=rng) < 0.5))
    ranks = random_ranks(every, 3, seed=4)
    assert torch.equal(ranks, random_ranks(every, 3, seed=4))
    assert not torch.equal(ranks[0], ranks[1])
    sets = {"random": every, "random-stable": found.stable, "random-transient": found.transient}
    for condition in CONDITIONS:
        if condition in sets:
            hidden = hidden_in(condition, found, ranks[0])
            assert torch.equal(hidden.sum(-1), sets[condition].sum(-1))
            assert not (hidden & every).any()
    drawn = torch.stack([random_ranks(every[:1], 1, seed)[0, 0] for seed in range(300)])
    often = (drawn < 6).double().mean(0)[~every[0]]
    assert (often - 6 / len(often)).abs().max() < 0.12
