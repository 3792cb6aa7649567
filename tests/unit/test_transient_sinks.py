"""Discounting only what comes and goes, on models whose sinks stand still or walk."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from core.calibration.noise import Noise, Trajectories, draw
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.pattern_values import Share
from core.recipes import METHODS, Score, SinkUse
from core.sinks.scores import sink_set
from tests.checkpoints import MASK_ID
from tests.engine_runs import EngineRun
from tests.family_checkpoints import tiny
from tests.planted import SINK_TOKEN, plant_sink

SAMPLES, TIMESTEPS, POSITIONS = 3, 5, 24
NOISED = METHODS["sink-wanda"]


def planted(folder: Path, family: str) -> Decoder:
    decoder = load(Checkpoint(take_in(tiny(folder, family))), torch.device("cpu"))
    plant_sink(decoder)
    return decoder


def some_tokens() -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(SINK_TOKEN + 1, 60, (SAMPLES, POSITIONS), generator=rng)


def standing() -> Trajectories:
    """The sink token always comes first, as a start token does."""
    clean = some_tokens()
    clean[:, 0] = SINK_TOKEN
    rng = torch.Generator().manual_seed(3)
    noised = clean[:, None].repeat(1, TIMESTEPS, 1)
    hit = torch.rand(noised.shape, generator=rng) < 0.3
    hit[..., 0] = False
    noised[hit] = SINK_TOKEN + 2
    return Trajectories.recorded(clean, noised, tuple(range(1, TIMESTEPS + 1)), None)


def walking() -> Trajectories:
    """At every timestep the sink token stands somewhere else."""
    clean = some_tokens()
    noised = clean[:, None].repeat(1, TIMESTEPS, 1)
    for t in range(TIMESTEPS):
        noised[:, t, 2 + 4 * t] = SINK_TOKEN
    return Trajectories.recorded(clean, noised, tuple(range(1, TIMESTEPS + 1)), MASK_ID)


def run(decoder: Decoder, trajectories: Trajectories, sinks: SinkUse) -> EngineRun:
    return EngineRun(
        decoder, trajectories, replace(NOISED, sinks=sinks), group=len(trajectories.timesteps)
    )


def totals(run: EngineRun) -> dict[str, torch.Tensor]:
    return {source: found.total for source, found in run.statistics().items()}


def test_a_sink_that_stands_still_is_kept_as_plain_noised_wanda_keeps_it(tmp_path: Path) -> None:
    decoder, trajectories = planted(tmp_path, "qwen2"), standing()
    seen = run(decoder, trajectories, "keep").observe().mass
    sinks = sink_set(seen, 2.0)
    assert sinks[..., 0].all()
    assert not sinks[..., 1:].any()
    plain = totals(run(decoder, trajectories, "keep"))
    transient = totals(run(decoder, trajectories, "discount-transient"))
    everything = totals(run(decoder, trajectories, "discount-all"))
    for source, total in plain.items():
        assert_close(transient[source], total, rtol=1e-6, atol=0)
    # Which is no matter of course: discounting all sinks says something else.
    assert any((everything[s] / t - 1).abs().max() > 0.1 for s, t in plain.items())


def test_a_sink_that_walks_is_discounted_but_for_its_persistence(tmp_path: Path) -> None:
    decoder, trajectories = planted(tmp_path, "dream"), walking()
    every, transient = (
        run(decoder, trajectories, use) for use in ("discount-all", "discount-transient")
    )
    seen = every.observe()
    sinks = sink_set(seen.mass, 2.0)
    for t in range(TIMESTEPS):
        assert sinks[:, t].nonzero()[:, 1].tolist() == [2 + 4 * t] * SAMPLES
    kept = {r: r.watched(seen).weight for r in (every, transient)}
    assert (kept[every] < 0.01).sum() == SAMPLES * TIMESTEPS
    more = kept[transient] - kept[every]
    assert more.min() >= 0
    assert more.max() == pytest.approx(1 / TIMESTEPS, rel=1e-3)
    plain = totals(run(decoder, trajectories, "keep"))
    for source, total in totals(every).items():
        assert (totals(transient)[source] - total).max() <= plain[source].max() / TIMESTEPS


@pytest.mark.parametrize("score", ["wanda", "sparsegpt"])
def test_masks_follow(tmp_path: Path, score: Score) -> None:
    """Of the whole engine: the same weights go where sinks stand still, others where they walk."""
    masks = []
    for use in ("keep", "discount-transient", "discount-all"):
        decoder = planted(tmp_path / use, "qwen2")
        recipe = replace(NOISED, score=score, sinks=use)
        pruned = EngineRun(decoder, standing(), recipe).prune(Share(0.5))
        masks.append(torch.cat([(p.matrix.linear.weight == 0).flatten() for p in pruned]))
    keep, transient, every = masks
    assert torch.equal(transient, keep)
    assert not torch.equal(every, keep)


def test_noise_leaves_an_autoregressive_models_first_token(tmp_path: Path) -> None:
    """So the start token, where such a model's sink is, stands there at every timestep."""
    decoder = planted(tmp_path, "qwen2")
    clean = some_tokens()
    clean[:, 0] = SINK_TOKEN
    noise = Noise(
        process=decoder.family.process, vocabulary=decoder.dimensions.vocabulary,
        timesteps=(10, 20, 30), steps=50, eps=1e-3,
    )  # fmt: skip
    trajectories = draw(clean, noise, seed=0)
    assert trajectories.noised[..., 0].eq(SINK_TOKEN).all()
    counted = run(decoder, trajectories, "discount-transient")
    weight = counted.watched(counted.observe()).weight
    assert_close(weight[:, 0], torch.ones(SAMPLES * 3), rtol=1e-6, atol=0)
