"""Block by block, a pruned model is held against the dense one as two whole models would be."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from core.evaluate import put_weights
from core.evaluation.block_errors import BlockErrors, block_errors, sequences_to_compare
from core.evaluation.nelbo import draw
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.decoder import load
from core.models.families import LLADA
from core.models.intake import take_in
from tests.checkpoints import MASK_ID
from tests.family_checkpoints import tiny

CPU = torch.device("cpu")
IDS = torch.randint(60, (5, 20), generator=torch.Generator().manual_seed(1))
KINDS = ["llada", "llama", "llada2_moe"]


def checkpoints(folder: Path, kind: str, *, pruned: tuple[int, ...]) -> list[Checkpoint]:
    """A model, and the same with every other weight of some blocks removed."""
    dense = Checkpoint(take_in(tiny(folder / "in", kind)))
    (folder / "out").mkdir()
    writer = CheckpointWriter(dense, folder / "out")
    for m in load(dense, CPU).all_matrices():
        weight = m.linear.weight.clone()
        if m.block in pruned:
            weight[:, ::2] = 0
        writer.replace(m.name, weight, m.rows)
    return [dense, Checkpoint(take_in(folder / "out"))]


def errors(dense: Checkpoint, pruned: Checkpoint, group: int = 2) -> BlockErrors:
    decoder = load(pruned, CPU)
    found = block_errors(
        decoder, IDS, lambda b: put_weights(decoder, dense, b),
        lambda b: put_weights(decoder, pruned, b), group=group, watch=lambda done, of: None,
    )  # fmt: skip
    for held, saved in zip(decoder.all_matrices(), load(pruned, CPU).all_matrices(), strict=True):
        assert torch.equal(held.linear.weight, saved.linear.weight)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_those_of_two_models_side_by_side(tmp_path: Path, kind: str) -> None:
    dense, pruned = checkpoints(tmp_path, kind, pruned=(0, 1))
    found = errors(dense, pruned)
    assert found.own.shape == found.carried.shape == (2, len(IDS))
    one, other = load(dense, CPU), load(pruned, CPU)
    with torch.inference_mode():
        for n, ids in enumerate(IDS):
            true = carried = one.embed(ids[None])
            for block in range(2):
                own = other.run_block(block, true)
                true, carried = one.run_block(block, true), other.run_block(block, carried)
                size = float(true.double().square().sum())
                for name, state in (("own", own), ("carried", carried)):
                    far = float((state.double() - true.double()).square().sum()) / size
                    assert getattr(found, name)[block, n].item() == pytest.approx(far, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_pruned_there_is_no_error(tmp_path: Path, kind: str) -> None:
    dense, pruned = checkpoints(tmp_path, kind, pruned=(1,))
    found = errors(dense, pruned)
    assert not found.own[0].any()
    assert not found.carried[0].any()
    # States that reach the second block are the dense ones still.
    assert torch.equal(found.own[1], found.carried[1])
    assert bool((found.own[1] > 0).all())
    assert_close(errors(dense, pruned, group=5).own, found.own, rtol=1e-4, atol=0)


def test_sequences_are_taken_at_all_noise_levels() -> None:
    noisy = draw(torch.zeros(12, 50, dtype=torch.int64), LLADA, 1e-3, seed=0)
    ids = sequences_to_compare(noisy, MASK_ID)
    assert ids.shape == (8, 50)
    for n, row in enumerate(ids):
        assert torch.equal(row == MASK_ID, noisy.masked[n, n])
