"""Laws of the whole engine: how samples are ordered, grouped or sharded never shows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.pattern_values import KeepPerGroup, Pattern, Share
from core.pruning.statistics import Statistic
from core.recipes import METHODS, Recipe, cells
from tests.checkpoints import MASK_ID
from tests.engine_runs import EngineRun
from tests.family_checkpoints import tiny
from tests.noising import forward_noise

SAMPLES, TIMESTEPS = 4, (10, 25, 40)
AT_ONCE = [cell for cell in cells() if cell.all_blocks_at_once]
BY_BLOCK = [cell for cell in cells() if cell.block_by_block]
KINDS = ["llada", "llada_moe"]

slow = settings(
    deadline=None,
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("model"), request.param)


def decoder(folder: Path) -> Decoder:
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


@pytest.fixture(scope="module")
def trajectories() -> Trajectories:
    clean = torch.randint(60, (SAMPLES, 20), generator=torch.Generator().manual_seed(0))
    return forward_noise(clean, TIMESTEPS, 50, 1e-3, MASK_ID, seed=1)


def only(trajectories: Trajectories, samples: list[int]) -> Trajectories:
    """The same timesteps of some samples, in that order."""
    t = trajectories
    return Trajectories(
        t.clean[samples], t.noised[samples], t.masked[samples],
        t.rates[samples], t.weights[samples], t.timesteps,
    )  # fmt: skip


def assert_same(some: dict[str, Statistic], others: dict[str, Statistic]) -> None:
    assert some.keys() == others.keys()
    for source, found in some.items():
        assert found.tokens == others[source].tokens
        assert_close(found.total, others[source].total, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("recipe", AT_ONCE, ids=str)
def test_shards_merge_to_the_whole(
    folder: Path, trajectories: Trajectories, recipe: Recipe
) -> None:
    model = decoder(folder)
    whole = EngineRun(model, trajectories, recipe, group=6).statistics()
    shards = [
        EngineRun(model, only(trajectories, part), recipe, group=3).statistics()
        for part in ([0], [1, 2, 3])
    ]
    names = shards[0].keys() | shards[1].keys()
    merged = {
        name: shards[0][name].merge(shards[1][name])
        if name in shards[0] and name in shards[1]
        else (shards[0] | shards[1])[name]
        for name in names
    }
    assert_same(merged, whole)


@slow
@given(st.permutations(range(SAMPLES)), st.integers(1, 4), st.sampled_from(AT_ONCE), st.booleans())
def test_order_and_grouping_do_not_show_in_statistics(
    folder: Path,
    trajectories: Trajectories,
    order: list[int],
    size: int,
    recipe: Recipe,
    hold: bool,
) -> None:
    model = decoder(folder)
    whole = EngineRun(model, trajectories, recipe, group=12).statistics()
    group = size * len(TIMESTEPS)
    shuffled = EngineRun(model, only(trajectories, order), recipe, group=group, hold=hold)
    found = shuffled.statistics()
    assert_same(found, whole)
    sequences = SAMPLES * (len(TIMESTEPS) if recipe.inputs == "noised" else 1)
    # Of experts too: a group that did not reach one was shown to it all the same.
    assert {s.sequences for s in (*found.values(), *whole.values())} == {sequences}


@slow
@given(
    st.permutations(range(SAMPLES)), st.integers(1, 12), st.sampled_from(BY_BLOCK),
    st.sampled_from([Share(0.5), KeepPerGroup(1, 4)]),
)  # fmt: skip
def test_order_and_grouping_do_not_show_in_masks(
    folder: Path,
    trajectories: Trajectories,
    order: list[int],
    group: int,
    recipe: Recipe,
    pattern: Pattern,
) -> None:
    """One-shot: of a sequential recipe one near tie that falls otherwise changes all later blocks."""
    recipe = replace(recipe, order="one-shot")
    whole = removed(EngineRun(decoder(folder), trajectories, recipe, group=12), pattern)
    shuffled = only(trajectories, order)
    other = removed(EngineRun(decoder(folder), shuffled, recipe, group=group, hold=False), pattern)
    assert whole.sum() == other.sum()
    assert int((whole != other).sum()) <= 8, "more than float32 puts on the other side of a tie"


def removed(run: EngineRun, pattern: Pattern) -> Tensor:
    return torch.cat([(p.matrix.linear.weight == 0).flatten() for p in run.prune(pattern)])


@pytest.mark.parametrize("recipe", list(cells()), ids=str)
def test_experts_that_no_token_reaches_are_pruned_by_magnitude_and_told(
    tmp_path: Path, trajectories: Trajectories, recipe: Recipe
) -> None:
    model = decoder(tiny(tmp_path, "llada_moe"))
    with torch.inference_mode():  # a router that always sends everything to the same experts
        for block in model.blocks:
            block.get_parameter("mlp.router.weight").zero_()
    dense = {m.key: m.linear.weight.clone() for m in model.all_matrices()}
    pruned = EngineRun(model, trajectories, recipe, group=6).prune(KeepPerGroup(2, 4))
    unreached = [p for p in pruned if not p.reached]
    active = model.dimensions.experts
    assert active is not None
    assert len({p.matrix.expert for p in unreached}) == active.count - active.active
    for p in unreached:
        weight, before = p.matrix.linear.weight, dense[p.matrix.key]
        groups = before.abs().view(-1, 4)
        lowest = groups.sort(dim=-1, stable=True).indices[:, :2]
        expected = before.view(-1, 4).scatter(1, lowest, 0.0).view(before.shape)
        assert torch.equal(weight, expected)


def test_the_next_block_sees_weights_as_the_file_will_hold_them(
    tmp_path: Path, trajectories: Trajectories
) -> None:
    """A file that mixes dtypes is computed in float32; SparseGPT's weights are rounded all the same."""
    narrow = tiny(
        tmp_path, "llada",
        dtype=lambda name: torch.float32 if "norm" in name or "wte" in name else torch.bfloat16,
    )  # fmt: skip
    pruned = EngineRun(decoder(narrow), trajectories, METHODS["sparsegpt"]).prune(Share(0.5))
    for p in pruned:
        weight = p.matrix.linear.weight
        assert (weight.dtype, p.matrix.dtype) == (torch.float32, torch.bfloat16)
        assert torch.equal(weight, weight.bfloat16().float())
