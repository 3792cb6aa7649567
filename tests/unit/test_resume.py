"""A run that goes on from another's points leaves the bytes of one that was never interrupted."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.calibration.noise import Trajectories
from core.journal import Journal, Spent
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.engine import prune
from core.pruning.kept_blocks import packed, put_back, tensors_of, unpacked
from core.pruning.observe import Observation, Watched, measure_all_blocks, observe
from core.pruning.pattern_values import Exactly, KeepPerGroup, Pattern, Share
from core.pruning.statistics import Statistic, statistic_of
from core.recipes import METHODS, Method, Recipe, cells
from core.resume import FinishedBlocks, KeptPassage
from core.spec import Sinks
from tests.checkpoints import MASK_ID, tiny_llada
from tests.engine_runs import ignore
from tests.family_checkpoints import tiny
from tests.kept_points import FolderPoints
from tests.noising import forward_noise

HALF = Share(0.5)
SAMPLES, TIMESTEPS, GROUP = 3, (15, 40), 4
ALL = [METHODS["magnitude"], *cells()]
HERE = {"device": "this one"}


@dataclass(frozen=True)
class Left:
    """What a run leaves: every number that a file is made of."""

    seen: dict[str, Tensor]
    weights: dict[str, Tensor]
    removed: dict[str, tuple[int, bool]]
    block_sequences: int

    def is_same(self, other: "Left") -> bool:
        return (
            self.seen.keys() == other.seen.keys()
            and all(torch.equal(_bits(v), _bits(other.seen[k])) for k, v in self.seen.items())
            and all(torch.equal(_bits(w), _bits(other.weights[k])) for k, w in self.weights.items())
            and list(self.removed.items()) == list(other.removed.items())
            and self.block_sequences == other.block_sequences
        )


def _bits(values: Tensor) -> Tensor:
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return values.contiguous().view(kinds[values.element_size()])


def _all_of(seen: Observation) -> dict[str, Tensor]:
    return {"mass": seen.mass, "kept": seen.kept, **seen.totals.tensors()}


@pytest.fixture(autouse=True)
def at_every_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.resume.PASS_SECONDS", 0.0)


@pytest.fixture(scope="module")
def trajectories() -> Trajectories:
    clean = torch.randint(60, (SAMPLES, 12), generator=torch.Generator().manual_seed(0))
    return forward_noise(clean, TIMESTEPS, 50, 1e-3, MASK_ID, seed=1)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llada(tmp_path_factory.mktemp("model") / "m", layers=3, width=16, ffn=24)


@dataclass(frozen=True)
class Run:
    """What `core.run` does between loading and judging, on a model that is loaded anew."""

    model: Path
    trajectories: Trajectories
    recipe: Recipe
    pattern: Pattern = HALF
    hold: bool = True
    per_head: bool = False

    def __call__(self, points: FolderPoints) -> Left:
        decoder = load(Checkpoint(take_in(self.model)), torch.device("cpu"))
        journal = self.open(points, decoder)
        seen, statistics, watched = self.measure(decoder, journal)
        removed: dict[str, tuple[int, bool]] = {}
        prune(
            decoder, self.recipe, {m.key: self.pattern for m in decoder.all_matrices()},
            damping=0.01, statistics=statistics, watched=watched, group=GROUP,
            keep=lambda p: removed.update({p.matrix.key: (p.removed, p.reached)}), watch=ignore,
            finished=FinishedBlocks(journal, self.recipe, len(decoder.blocks)),
        )  # fmt: skip
        weights = {m.key: m.linear.weight.detach() for m in decoder.all_matrices()}
        return Left(_all_of(seen), weights, removed, decoder.block_sequences)

    def open(self, points: FolderPoints, decoder: Decoder) -> Journal:
        def spent() -> Spent:
            return Spent(seconds={}, block_sequences=decoder.block_sequences, reached=0.0)

        journal = Journal(points, HERE, spent)
        if last := journal.open(lambda done, of: None):
            decoder.block_sequences = last.facts.spent.block_sequences
        return journal

    def measure(
        self, decoder: Decoder, journal: Journal
    ) -> tuple[Observation, dict[str, Statistic], Watched | None]:
        recipe = self.recipe
        seen = observe(
            decoder, self.trajectories, Sinks(per_head=self.per_head),
            held_for=recipe if self.hold and recipe.norms_with_mass else None,
            group=GROUP, watch=ignore, passage=KeptPassage(journal, "watched", decoder.device),
        )  # fmt: skip
        if recipe.score == "magnitude" or seen.statistics:
            return seen, seen.statistics, None
        watched = Watched.of(recipe, self.trajectories, seen.mass, Sinks())
        if not recipe.all_blocks_at_once:
            return seen, {}, watched
        passage = KeptPassage(journal, "measured", decoder.device)
        kind = statistic_of(recipe)
        return (
            seen,
            measure_all_blocks(decoder, watched, kind, group=GROUP, watch=ignore, passage=passage),
            watched,
        )


def assert_resumes_everywhere(run: Run, folder: Path) -> list[str]:
    """The kinds of the points, behind each of which another run has gone on.

    Behind those of the analysis, where the pattern does not matter, only for one of them.
    """
    first = FolderPoints(folder)
    whole = run(first)
    start = 1 if run.pattern == HALF else first.kept.index("block")
    for earlier in range(start, len(first.kept) + 1):
        again = FolderPoints(folder, earlier=earlier)
        assert run(again).is_same(whole), (earlier, first.kept)
        assert again.kept == first.kept[earlier:]
    return first.kept


@pytest.mark.parametrize("pattern", [HALF, KeepPerGroup(2, 4)], ids=str)
@pytest.mark.parametrize("recipe", ALL, ids=str)
def test_every_recipe_goes_on_behind_every_point(
    dense: Path, trajectories: Trajectories, recipe: Recipe, pattern: Pattern, tmp_path: Path
) -> None:
    kept = assert_resumes_everywhere(Run(dense, trajectories, recipe, pattern), tmp_path)
    assert kept.count("block") == 3
    assert kept.count("watched") == 2
    apart = recipe.all_blocks_at_once and not recipe.norms_with_mass
    assert kept.count("measured") == apart


@pytest.mark.parametrize("method", list(METHODS))
def test_counts_of_an_allocation_go_on_too(
    dense: Path, trajectories: Trajectories, method: Method, tmp_path: Path
) -> None:
    run = Run(dense, trajectories, METHODS[method], Exactly(101))
    assert_resumes_everywhere(run, tmp_path)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["llada_moe", "llada-mixed"])
def test_experts_and_mixed_dtypes_go_on_too(
    trajectories: Trajectories, kind: str, method: Method, tmp_path: Path
) -> None:
    """Experts that no token reached stay known as such; what was widened comes back as it was."""
    model = (
        tiny(tmp_path / "m", kind)
        if kind == "llada_moe"
        else mixed(tiny_llada(tmp_path / "m", dtype=torch.bfloat16))
    )
    assert_resumes_everywhere(Run(model, trajectories, METHODS[method]), tmp_path / "points")


def mixed(model: Path) -> Path:
    """With one matrix in another dtype, so that all are computed in float32."""
    tensors = load_file(model / "model.safetensors")
    name = "model.transformer.blocks.0.q_proj.weight"
    tensors[name] = tensors[name].float()
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    return model


def test_norms_that_were_taken_in_a_second_pass_go_on_too(
    dense: Path, trajectories: Trajectories, tmp_path: Path
) -> None:
    run = Run(dense, trajectories, METHODS["sink-wanda"], hold=False)
    assert assert_resumes_everywhere(run, tmp_path).count("measured") == 2


def test_statistics_by_head_go_on_too(
    dense: Path, trajectories: Trajectories, tmp_path: Path
) -> None:
    """Also where a group cuts a sample's timesteps."""
    run = Run(dense, of_three_timesteps(trajectories), METHODS["magnitude"], per_head=True)
    assert assert_resumes_everywhere(run, tmp_path).count("watched") == 3


def of_three_timesteps(trajectories: Trajectories) -> Trajectories:
    """Three timesteps, of which a group of four sequences has one and a part."""
    return forward_noise(trajectories.clean, (15, 30, 40), 50, 1e-3, MASK_ID, seed=1)


def test_points_of_a_pass_come_now_and_then(
    dense: Path, trajectories: Trajectories, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("core.resume.PASS_SECONDS", 60.0)
    points = FolderPoints(tmp_path)
    Run(dense, trajectories, METHODS["sink-wanda"])(points)
    assert points.kept == ["watched", "block", "block", "block"]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_flags_survive_packing(flags: list[bool]) -> None:
    given_ = torch.tensor(flags)
    bits = packed(given_)
    assert bits.dtype == torch.uint8
    assert len(bits) == -(-len(flags) // 8)
    assert torch.equal(unpacked(bits, given_.shape), given_)


@pytest.mark.parametrize("moved", [False, True])
def test_a_block_comes_back_bit_by_bit(dense: Path, moved: bool) -> None:
    """A dense zero, of either sign, is no number that was removed."""
    decoder, again = (load(Checkpoint(take_in(dense)), torch.device("cpu")) for _ in range(2))
    with torch.inference_mode():
        for some in (decoder, again):
            some.matrices(0)[0].linear.weight[0, :4] = torch.tensor([0.0, -0.0, 5e-42, -5e-42])
        for matrix in decoder.matrices(0):
            matrix.linear.weight[1::2] = 0
        found = tensors_of(decoder.matrices(0), moved=moved)
        for matrix in again.matrices(0):
            put_back(matrix, found.__getitem__, moved=moved)
    for one, other in zip(decoder.matrices(0), again.matrices(0), strict=True):
        assert torch.equal(_bits(one.linear.weight), _bits(other.linear.weight))
    weights = sum(m.linear.weight.numel() for m in decoder.matrices(0))
    size = sum(t.numel() * t.element_size() for t in found.values())
    assert size == weights // 8 + moved * (weights // 2 - 1) * 4
