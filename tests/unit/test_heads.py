"""What is removed from a head: every weight of attention belongs to heads, and none to two."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.evaluation.mask_difference import MaskDifference
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.families.base import ATTENTION_ROLES
from core.models.intake import take_in
from core.pruning.engine import prune
from core.pruning.heads import HeadTally, by_head
from core.pruning.pattern_values import KeepPerGroup, Pattern, Share
from core.recipes import METHODS
from tests.family_checkpoints import tiny

KINDS = ["llada", "llama", "qwen3", "llada2_moe"]
"""Heads of their own width, groups, fused rows."""


def decoder_of(folder: Path, kind: str) -> Decoder:
    return load(Checkpoint(take_in(tiny(folder, kind))), torch.device("cpu"))


def tally_of(decoder: Decoder, masks: dict[str, Tensor]) -> HeadTally:
    tally = HeadTally(decoder.dimensions)
    for matrix in decoder.all_matrices():
        counts = by_head(masks[matrix.key], matrix.role, decoder.dimensions)
        tally.add(matrix.block, matrix.role, counts)
    return tally


def nothing(decoder: Decoder) -> dict[str, Tensor]:
    return {m.key: torch.zeros_like(m.linear.weight).bool() for m in decoder.all_matrices()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_weight_is_where_it_belongs(tmp_path: Path, kind: str) -> None:
    decoder = decoder_of(tmp_path, kind)
    d = decoder.dimensions
    sharers = d.heads // d.kv_heads
    size = 2 * d.width * d.head_dim * (1 + 1 / sharers)
    head, group = d.heads - 1, d.kv_heads - 1
    for role in ATTENTION_ROLES:
        masks = nothing(decoder)
        matrix = next(m for m in decoder.matrices(1) if m.role == role)
        at = (group if role in ("k", "v") else head) * d.head_dim
        mask = masks[matrix.key]
        (mask.mT if role == "o" else mask)[at : at + 2, :3] = True
        found = tally_of(decoder, masks).fractions()
        assert found[0] == [0] * d.heads
        touched = sharers if role in ("k", "v") else 1
        assert found[1][: d.heads - touched] == [0] * (d.heads - touched)
        assert found[1][d.heads - touched :] == pytest.approx([6 / touched / size] * touched)


@pytest.mark.parametrize("pattern", [Share(0.3), KeepPerGroup(1, 4)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_heads_add_up_to_their_matrices(tmp_path: Path, kind: str, pattern: Pattern) -> None:
    decoder = decoder_of(tmp_path, kind)
    d = decoder.dimensions
    tally, removed = HeadTally(d), [0] * d.blocks
    with torch.inference_mode():  # weights that are gone before, and are not removed once more
        decoder.matrices(0)[0].linear.weight[:, ::2] = 0

    def keep(pruned: object) -> None:
        tally.add(pruned.matrix.block, pruned.matrix.role, pruned.heads)  # type: ignore[attr-defined]
        if pruned.matrix.role in ATTENTION_ROLES:  # type: ignore[attr-defined]
            removed[pruned.matrix.block] += pruned.removed  # type: ignore[attr-defined]

    prune(
        decoder, METHODS["magnitude"], {m.key: pattern for m in decoder.all_matrices()},
        damping=0.01, statistics={}, watched=None, group=1, keep=keep, watch=lambda a, b: None,
    )  # fmt: skip
    size = 2 * d.width * d.head_dim * (1 + d.kv_heads / d.heads)
    for block, shares in enumerate(tally.fractions()):
        assert sum(shares) * size == pytest.approx(removed[block], rel=1e-12)
        assert removed[block] > 0


def test_two_prunings_are_compared_head_by_head(tmp_path: Path) -> None:
    decoder = decoder_of(tmp_path, "llama")
    d = decoder.dimensions
    difference = MaskDifference(d)
    for matrix in decoder.all_matrices():
        ours, theirs = (torch.zeros_like(matrix.linear.weight).bool() for _ in range(2))
        if matrix.block == 1 and matrix.role == "q":
            # Of the first head ours has 4, theirs has 2, and one of them is the same.
            ours[0, :4], theirs[0, 3:5] = True, True
        difference.add(matrix, ours, theirs)
    (name,) = {n for n, (one, _) in difference.matrices.items() if one}
    assert "1.self_attn.q_proj" in name
    assert difference.matrices[name] == (4, 5)
    shares = difference.one.over(difference.either)
    assert shares == [[0.0] * d.heads, [4 / 5] + [0.0] * (d.heads - 1)]
    size = 2 * d.width * d.head_dim * (1 + d.kv_heads / d.heads)
    change = difference.sparsity_change()
    assert change[1][0] == pytest.approx(2 / size)
    assert change[0] + change[1][1:] == [0.0] * (2 * d.heads - 1)
