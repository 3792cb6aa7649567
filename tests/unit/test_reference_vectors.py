"""Our numbers against those of the published implementation, entry by entry."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.engine import Pruned, prune
from core.pruning.observe import Observation, observe
from core.pruning.recipes import Recipe
from core.pruning.statistics import SquaredInput
from core.sinks.scores import soft_sink
from core.spec import JobSpec

ROUNDING = 1e-6
"""Two float32 scores closer than this, relative, may be ordered either way."""

SINK_CASES = ["sink_u50", "sink_u75"]
CASES = ["magnitude_u50", "wanda_u50", "wanda_u75", *SINK_CASES]


class Case:
    """One folder of the vectors, and our run of it."""

    def __init__(self, vectors: Path, name: str, scratch: Path) -> None:
        model = vectors / "llada_tiny"
        for file in ("config.json", "model.safetensors"):
            shutil.copy(model / file, scratch)
        asked = json.loads((model / name / "case.json").read_text())
        self.expected = load_file(model / name / "expected.safetensors")
        self.tokens = load_file(model / name / "tokens.safetensors")
        self.spec = JobSpec.model_validate(
            {
                "model": {"source": scratch.as_uri()},
                "method": asked["method"],
                "sparsity": asked["sparsity"],
                "sinks": asked["sinks"],
            }
        )
        self.decoder: Decoder = load(Checkpoint(take_in(scratch)), torch.device("cpu"))
        self.dense = {m.name: m.linear.weight.detach().clone() for m in self.decoder.all_matrices()}

    def observe(self, *, hold_inputs: bool = True, group: int = 7) -> Observation:
        clean, noised = self.tokens["input_ids"], self.tokens["noised_input_ids"]
        mask_token = self.decoder.dimensions.mask_token
        assert mask_token is not None
        trajectories = Trajectories.recorded(
            clean, noised, self.spec.calibration.timesteps, mask_token
        )
        return observe(
            self.decoder,
            trajectories,
            self.spec.sinks,
            with_norms=True,
            hold_inputs=hold_inputs,
            group=group,
            watch=lambda done, of: None,
        )

    def prune(self) -> list[Pruned]:
        norms = self.observe().norms if "noised_input_ids" in self.tokens else {}
        found: list[Pruned] = []
        prune(
            self.decoder,
            Recipe.of(self.spec),
            self.spec.sparsity,
            norms=norms,
            clean=self.tokens["input_ids"],
            group=3,
            keep=found.append,
            watch=lambda done, of: None,
        )
        return found

    def expected_mask(self, name: str) -> Tensor:
        shape = self.dense[name].shape
        bits = np.unpackbits(self.expected[f"removed/{name}"].numpy())[: shape.numel()]
        return torch.from_numpy(bits.astype(bool)).view(shape)


@pytest.fixture
def case(request: pytest.FixtureRequest, reference_vectors: Path, tmp_path: Path) -> Case:
    return Case(reference_vectors, request.param, tmp_path)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_masks_are_the_published_ones(case: Case) -> None:
    pruned = case.prune()
    assert {p.matrix.name for p in pruned} == {
        name.removeprefix("removed/") for name in case.expected if name.startswith("removed/")
    }
    ties = 0
    for p in pruned:
        ours, theirs = p.matrix.linear.weight == 0, case.expected_mask(p.matrix.name)
        score = case.dense[p.matrix.name].abs()
        if p.statistic is not None:
            score = score * p.statistic.input_norm()
        for row in (ours != theirs).any(1).nonzero()[:, 0]:
            wrong = ours[row] != theirs[row]
            threshold = score[row][ours[row]].max()
            gap = ((score[row][wrong] - threshold).abs() / threshold).max()
            assert gap < ROUNDING, f"{p.matrix.name}, row {row}: relative gap {gap:.2g}"
            ties += int(wrong.sum())
    assert ties <= 2


@pytest.mark.parametrize("case", [c for c in CASES if c != "magnitude_u50"], indirect=True)
def test_statistics_are_the_published_ones(case: Case) -> None:
    for p in case.prune():
        assert p.statistic is not None
        ours = (
            p.statistic.mean_square()
            if isinstance(p.statistic, SquaredInput)
            else p.statistic.input_norm()
        )
        assert_close(ours, case.expected[f"norm/{p.matrix.name}"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", SINK_CASES, indirect=True)
def test_mass_and_soft_sinks_are_the_published_ones(case: Case) -> None:
    mass = case.observe().mass
    assert_close(mass, case.expected["mass_per_layer"], rtol=1e-5, atol=1e-5)
    assert_close(mass.sum(2), case.expected["mass"], rtol=1e-5, atol=1e-5)
    soft = soft_sink(mass.sum(2), case.spec.sinks.threshold_std, case.spec.sinks.sharpness)
    assert_close(soft, case.expected["soft_sink"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", SINK_CASES[:1], indirect=True)
def test_a_second_pass_finds_what_holding_inputs_finds(case: Case) -> None:
    held, again = case.observe(), case.observe(hold_inputs=False, group=1)
    assert again.forwards == 2 * held.forwards
    for name, norm in held.norms.items():
        assert_close(again.norms[name].total, norm.total, rtol=1e-6, atol=0)
