"""The engine against a float64 implementation that shares no code with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.calibration.noise import Trajectories, forward_noise
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.engine import Pruned, prune
from core.pruning.observe import Observation, observe
from core.pruning.recipes import Recipe
from core.spec import JobSpec, Method
from tests import oracle
from tests.checkpoints import MASK_ID, VOCABULARY, tiny_llada

SAMPLES, POSITIONS = 5, 24
ROUNDING = 1e-6


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
    seen = watch(decoder, trajectories, "wanda")
    for n in range(SAMPLES):
        for t in range(5):
            expected = truth.mass(trajectories.noised[n, t].numpy())
            np.testing.assert_allclose(seen.mass[n, t].numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sink-wanda"])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.75])
def test_removed_entries(
    decoder: Decoder,
    truth: oracle.Oracle,
    trajectories: Trajectories,
    method: Method,
    sparsity: float,
) -> None:
    spec = make_spec(method, sparsity)
    clean, noised = trajectories.clean.numpy(), trajectories.noised.numpy()
    expected = {
        "magnitude": lambda: oracle.magnitude(truth, sparsity),
        "wanda": lambda: oracle.wanda(truth, clean, sparsity),
        "sink-wanda": lambda: oracle.sink_wanda(truth, noised, sparsity, 2.0, 5.0),
    }[method]()
    found: list[Pruned] = []
    norms = watch(decoder, trajectories, method).norms
    prune(
        decoder, Recipe.of(spec), sparsity, norms=norms, clean=trajectories.clean, group=2,
        keep=found.append, watch=lambda done, of: None,
    )  # fmt: skip
    assert len(found) == len(expected)
    ties = 0
    for p in found:
        short = p.matrix.name.split(".")[-2]
        score, theirs = expected[p.matrix.block, short]
        ours = (p.matrix.linear.weight == 0).numpy()
        assert p.removed == int(ours.sum())
        for row in np.flatnonzero((ours != theirs).any(1)):
            # Only a near tie at the threshold may fall to the other side in float32.
            wrong = score[row][ours[row] != theirs[row]]
            assert np.ptp(wrong) < ROUNDING * wrong.max(), f"{p.matrix.name}, row {row}"
            ties += len(wrong)
    assert ties <= 4


def make_spec(method: Method, sparsity: float) -> JobSpec:
    return JobSpec.model_validate(
        {"model": {"source": "file:///x"}, "method": method, "sparsity": sparsity}
    )


def watch(decoder: Decoder, trajectories: Trajectories, method: Method) -> Observation:
    spec = make_spec(method, 0.5)
    return observe(
        decoder, trajectories, spec.sinks, with_norms=Recipe.of(spec).one_shot,
        hold_inputs=True, group=4, watch=lambda done, of: None,
    )  # fmt: skip
