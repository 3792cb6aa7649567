"""Our numbers against those of the published implementation, entry by entry."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.pruning.engine import Pruned
from core.pruning.pattern_values import pattern_of
from core.pruning.statistics import DiscountedNorms, Hessian, SquaredInput
from core.sinks.scores import soft_sink
from core.spec import JobSpec, parse_spec
from tests.engine_runs import EngineRun

ROUNDING = 1e-6
"""Two float32 scores closer than this, relative, may be ordered either way."""

FLIPS = 10
"""Entries of a SparseGPT case that may fall otherwise: the published code itself flips as many
between one and two threads."""

SCORED = ["magnitude_u50", "magnitude_2of4", "wanda_u50", "wanda_u75", "wanda_2of4"]
SINKS = ["sink_u50", "sink_u75"]
HESSIANS = ["sparsegpt_u50", "sparsegpt_2of4", "sink_sgpt_u50", "sink_sgpt_2of4"]


def on(model: str, *cases: str) -> list[str]:
    return [f"{model}/{case}" for case in cases]


SINK_CASES = on("llada_tiny", *SINKS) + on("dream_tiny", "sink_u50")
SCORED_CASES = on("llada_tiny", *SCORED) + on("dream_tiny", "wanda_u50") + SINK_CASES
HESSIAN_CASES = on("llada_tiny", *HESSIANS) + on("dream_tiny", "sparsegpt_u50")


class Case:
    """One folder of the vectors, and our run of it."""

    def __init__(self, vectors: Path, name: str, scratch: Path) -> None:
        model = vectors / name.partition("/")[0]
        for file in ("config.json", "model.safetensors"):
            shutil.copy(model / file, scratch)
        asked = json.loads((vectors / name / "case.json").read_text())
        self.expected = load_file(vectors / name / "expected.safetensors")
        self.tokens = load_file(vectors / name / "tokens.safetensors")
        self.spec: JobSpec = parse_spec(
            {
                "model": {"source": scratch.as_uri()},
                "method": asked["method"],
                "sparsity": asked["sparsity"],
                "pattern": asked["pattern"],
                "sinks": asked["sinks"],
            }
        )
        decoder = load(Checkpoint(take_in(scratch)), torch.device("cpu"))
        mask_token = decoder.dimensions.mask_token
        assert mask_token is not None
        clean = self.tokens["input_ids"]
        # Methods that look at no timestep come without a trajectory: one step of clean text does.
        noised = self.tokens.get("noised_input_ids", clean[:, None])
        timesteps = self.spec.calibration.timesteps[: noised.shape[1]]
        trajectories = Trajectories.recorded(clean, noised, timesteps, mask_token)
        self.run = EngineRun(
            decoder, trajectories, self.spec.resolved_recipe, self.spec.sinks, group=7
        )
        self.dense = {m.name: m.linear.weight.detach().clone() for m in decoder.all_matrices()}

    def prune(self) -> list[Pruned]:
        pruned = self.run.prune(pattern_of(self.spec.pattern, self.spec.sparsity))
        assert {p.matrix.name for p in pruned} == {
            name.removeprefix("removed/") for name in self.expected if name.startswith("removed/")
        }
        return pruned

    def expected_mask(self, name: str) -> Tensor:
        shape = self.dense[name].shape
        bits = np.unpackbits(self.expected[f"removed/{name}"].numpy())[: shape.numel()]
        return torch.from_numpy(bits.astype(bool)).view(shape)


@pytest.fixture
def case(request: pytest.FixtureRequest, reference_vectors: Path, tmp_path: Path) -> Case:
    return Case(reference_vectors, request.param, tmp_path)


def differing_rows(case: Case, pruned: Pruned) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Score, our removals and the entries that differ, of each row in which any does."""
    score = case.dense[pruned.matrix.name].abs()
    if isinstance(pruned.statistic, DiscountedNorms | SquaredInput):
        score = score * pruned.statistic.input_norm()
    ours = pruned.matrix.linear.weight == 0
    wrong = ours != case.expected_mask(pruned.matrix.name)
    for row in wrong.any(1).nonzero()[:, 0]:
        yield score[row], ours[row], wrong[row]


@pytest.mark.parametrize("case", SCORED_CASES, indirect=True)
def test_masks_are_the_published_ones(case: Case) -> None:
    ties = 0
    for p in case.prune():
        for score, ours, wrong in differing_rows(case, p):
            threshold = score[ours].max()
            gap = ((score[wrong] - threshold).abs() / threshold).max()
            assert gap < ROUNDING, f"{p.matrix.name}: relative gap {gap:.2g}"
            ties += int(wrong.sum())
    assert ties <= 2


@pytest.mark.parametrize("case", HESSIAN_CASES, indirect=True)
def test_sparsegpt_removes_and_corrects_as_published(case: Case) -> None:
    flips = 0
    for p in case.prune():
        ours, theirs = p.matrix.linear.weight, case.expected[f"weight/{p.matrix.name}"]
        same = (ours == 0) == case.expected_mask(p.matrix.name)
        flips += int((~same).sum())
        # A row in which one entry fell otherwise is corrected otherwise from there on.
        rows = same.all(1)
        assert_close(ours[rows], theirs[rows], rtol=1e-4, atol=1e-5)
    assert flips <= FLIPS


@pytest.mark.parametrize("case", [c for c in SCORED_CASES if "magnitude" not in c], indirect=True)
def test_norms_are_the_published_ones(case: Case) -> None:
    for p in case.prune():
        assert isinstance(p.statistic, DiscountedNorms | SquaredInput)
        ours = (
            p.statistic.mean_square()
            if isinstance(p.statistic, SquaredInput)
            else p.statistic.input_norm()
        )
        assert_close(ours, case.expected[f"norm/{p.matrix.name}"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", HESSIAN_CASES, indirect=True)
def test_hessians_are_the_published_ones(case: Case) -> None:
    """Of the first block: later ones see the outputs of pruned blocks, in which one flip shows."""
    for p in case.prune():
        if p.matrix.block:
            continue
        assert isinstance(p.statistic, Hessian)
        theirs = case.expected[f"hessian/{p.matrix.name}"]
        scale = theirs.diagonal().mean().item()
        assert_close(p.statistic.matrix().float(), theirs, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("case", SINK_CASES, indirect=True)
def test_mass_and_soft_sinks_are_the_published_ones(case: Case) -> None:
    seen = case.run.observe()
    assert_close(seen.kept, case.expected["mass_per_layer"], rtol=1e-5, atol=1e-5)
    assert_close(seen.mass, case.expected["mass"], rtol=1e-5, atol=1e-5)
    soft = soft_sink(seen.mass, case.spec.sinks.threshold_std, case.spec.sinks.sharpness)
    assert_close(soft, case.expected["soft_sink"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", on("llada_tiny", "sink_sgpt_u50"), indirect=True)
def test_what_clean_positions_count_for_is_the_published_mean(case: Case) -> None:
    watched = case.run.watched(case.run.observe())
    assert_close(1 - watched.weight, case.expected["soft_sink_mean"], rtol=1e-4, atol=1e-5)
