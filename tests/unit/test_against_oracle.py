"""The engine against a float64 implementation that shares no code with it."""

import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.errors import InvalidSpec
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.engine import Pruned
from core.pruning.pattern_values import KeepPerGroup, Pattern, Share
from core.recipes import METHODS, Inputs, Method, Recipe, SinkUse, cells
from tests import oracle
from tests.checkpoints import MASK_ID, VOCABULARY, tiny_llada
from tests.engine_runs import EngineRun
from tests.noising import forward_noise

SAMPLES, POSITIONS = 5, 24
TIES = 4
"""Entries of a whole model whose float32 scores may be ordered otherwise than in float64."""


@pytest.fixture(params=[{}, {"heads": 4, "ffn": 36}], ids=["plain", "other-shape"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_llada(tmp_path, layers=3, seed=4, **request.param)


@pytest.fixture
def decoder(model: Path) -> Decoder:
    return load(Checkpoint(take_in(model)), torch.device("cpu"))


@pytest.fixture
def truth(model: Path) -> oracle.Oracle:
    config = json.loads((model / "config.json").read_text())
    return oracle.Oracle(config, load_file(model / "model.safetensors"))


@pytest.fixture
def trajectories() -> Trajectories:
    rng = torch.Generator().manual_seed(7)
    clean = torch.randint(VOCABULARY - 4, (SAMPLES, POSITIONS), generator=rng)
    return forward_noise(clean, (10, 20, 30, 40, 50), 50, 1e-3, MASK_ID, seed=3)


def test_logits(decoder: Decoder, truth: oracle.Oracle, trajectories: Trajectories) -> None:
    with torch.inference_mode():
        ours = decoder.head(decoder.features(trajectories.noised[:, 1]))
    for row, ids in zip(ours, trajectories.noised[:, 1], strict=True):
        np.testing.assert_allclose(row.numpy(), truth.logits(ids.numpy()), rtol=1e-3, atol=2e-5)


def test_attention_mass(decoder: Decoder, truth: oracle.Oracle, trajectories: Trajectories) -> None:
    seen = EngineRun(decoder, trajectories, METHODS["wanda"]).observe()
    for n in range(SAMPLES):
        for t in range(5):
            expected = truth.mass(trajectories.noised[n, t].numpy())
            np.testing.assert_allclose(seen.kept[n, t].numpy(), expected, rtol=1e-5, atol=1e-5)
            total = expected.sum(0)
            np.testing.assert_allclose(seen.mass[n, t].numpy(), total, rtol=1e-5, atol=1e-5)


CELLS = [astuple(cell) for cell in cells()]


def name_of(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("cell", CELLS, ids=name_of)
@pytest.mark.parametrize("choice", [0.5, (2, 4)], ids=name_of)
def test_every_cell_of_the_grid(
    decoder: Decoder,
    truth: oracle.Oracle,
    trajectories: Trajectories,
    cell: tuple[Any, ...],
    choice: oracle.Choice,
) -> None:
    expected = oracle.prune(
        truth, oracle.Cell(*cell), trajectories.clean.numpy(), trajectories.noised.numpy(), choice
    )
    check(EngineRun(decoder, trajectories, Recipe(*cell)).prune(pattern(choice)), expected)


@pytest.mark.parametrize("choice", [0.3, 0.75, (1, 4), (4, 8)], ids=name_of)
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_at_other_sparsities(
    decoder: Decoder,
    truth: oracle.Oracle,
    trajectories: Trajectories,
    method: Method,
    choice: oracle.Choice,
) -> None:
    recipe = METHODS[method]
    widths = {m.linear.in_features for m in decoder.all_matrices()}
    if not isinstance(choice, float) and any(width % choice[1] for width in widths):
        with pytest.raises(InvalidSpec, match=f"no multiple of {choice[1]}"):
            EngineRun(decoder, trajectories, recipe).prune(pattern(choice))
        return
    if method == "magnitude":
        expected = oracle.magnitude(truth, choice)
    else:
        expected = oracle.prune(
            truth,
            oracle.Cell(recipe.score, str(recipe.inputs), str(recipe.order), str(recipe.sinks)),
            trajectories.clean.numpy(),
            trajectories.noised.numpy(),
            choice,
        )
    check(EngineRun(decoder, trajectories, recipe).prune(pattern(choice)), expected)


@pytest.mark.parametrize("method", ["sink-wanda", "sink-sparsegpt"])
@pytest.mark.parametrize("inputs", ["clean", "noised"])
def test_timestep_weights(
    decoder: Decoder,
    truth: oracle.Oracle,
    trajectories: Trajectories,
    method: Method,
    inputs: Inputs,
) -> None:
    weights = torch.rand(SAMPLES, 5, generator=torch.Generator().manual_seed(1)) + 0.1
    recipe = replace(METHODS[method], inputs=inputs)
    weighted = replace(trajectories, weights=weights)
    expected = oracle.prune(
        truth,
        oracle.Cell(recipe.score, inputs, str(recipe.order), str(recipe.sinks)),
        trajectories.clean.numpy(),
        trajectories.noised.numpy(),
        0.5,
        timestep_weights=weights.double().numpy(),
    )
    check(EngineRun(decoder, weighted, recipe).prune(pattern(0.5)), expected)


@pytest.mark.parametrize("sinks", ["keep", "discount-all", "discount-transient"])
def test_held_inputs_and_a_second_pass_find_the_same(
    decoder: Decoder, trajectories: Trajectories, sinks: SinkUse
) -> None:
    recipe = replace(METHODS["sink-wanda"], sinks=sinks)
    held = EngineRun(decoder, trajectories, recipe, group=5)
    again = EngineRun(decoder, trajectories, recipe, group=3, hold=False)
    assert held.observe().statistics
    assert not again.observe().statistics
    ours, theirs = held.statistics(), again.statistics()
    assert ours.keys() == theirs.keys()
    for source, found in ours.items():
        assert found.sequences == theirs[source].sequences == SAMPLES * 5
        assert_close(found.total, theirs[source].total, rtol=1e-5, atol=0)


def pattern(choice: oracle.Choice) -> Pattern:
    return Share(choice) if isinstance(choice, float) else KeepPerGroup(*choice)


def check(found: list[Pruned], expected: dict[tuple[int, str], oracle.Removed]) -> None:
    """Equal but for entries that float32 puts on the other side of a near tie."""
    assert len(found) == len(expected)
    ties = 0
    for p in found:
        theirs = expected[p.matrix.block, p.matrix.name.split(".")[-2]]
        weight = p.matrix.linear.weight.double().numpy()
        ours = weight == 0
        assert p.removed == int(ours.sum())
        wrong = (ours != theirs.mask).any(1)
        ties += int((ours != theirs.mask).sum())
        np.testing.assert_allclose(weight[~wrong], theirs.weight[~wrong], rtol=1e-3, atol=1e-4)
    assert ties <= TIES
