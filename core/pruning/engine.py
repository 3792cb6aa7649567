"""The one pruning loop: for every recipe and every family."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.models.decoder import Decoder, Matrix
from core.pruning.observe import Watch, input_owners, watching_inputs
from core.pruning.patterns import lowest_per_row, removed_per_row, up_to_rank
from core.pruning.recipes import Recipe
from core.pruning.scores import magnitude_score, wanda_score
from core.pruning.statistics import DiscountedNorms, InputStatistic, SquaredInput


@dataclass(frozen=True, slots=True)
class Pruned:
    """One matrix after pruning."""

    matrix: Matrix
    removed: int
    statistic: InputStatistic | None


Keep = Callable[[Pruned], None]
"""Called with each matrix as soon as its weights are final."""


@torch.inference_mode()
def prune(
    decoder: Decoder,
    recipe: Recipe,
    sparsity: float,
    *,
    norms: dict[str, DiscountedNorms],
    clean: Tensor,
    group: int,
    keep: Keep,
    watch: Watch,
) -> None:
    """Prune every block's matrices in place and hand each to `keep`.

    Args:
        norms: one-shot statistics by tensor name, where the recipe is one-shot.
        clean: (samples, positions) int64 calibration ids, run through block by block where the
            recipe is sequential: block b + 1 sees the outputs of the pruned block b.
        group: sequences in one forward of a block.
    """
    sequential = recipe.order == "sequential"
    hidden = _embed(decoder, clean, group) if sequential else []
    blocks = len(decoder.blocks)
    for block in range(blocks):
        statistics: dict[str, InputStatistic] = dict(norms)
        if sequential:
            statistics = dict(_measure_block(decoder, block, hidden))
        for matrix in decoder.matrices(block):
            statistic = statistics.get(matrix.name)
            removed = _removed(recipe, matrix, statistic, sparsity)
            matrix.linear.weight.masked_fill_(removed, 0)
            keep(Pruned(matrix, int(removed.sum()), statistic))
        if sequential and block + 1 < blocks:
            for part, state in enumerate(hidden):
                hidden[part] = decoder.run_block(block, state)
        watch(block + 1, blocks)


def _removed(
    recipe: Recipe, matrix: Matrix, statistic: InputStatistic | None, sparsity: float
) -> Tensor:
    weight = matrix.linear.weight
    if recipe.score == "magnitude":
        return up_to_rank(magnitude_score(weight), sparsity)
    assert statistic is not None
    score = wanda_score(weight, statistic.input_norm())
    return lowest_per_row(score, removed_per_row(weight.shape[1], sparsity))


def _embed(decoder: Decoder, clean: Tensor, group: int) -> list[Tensor]:
    """Hidden states of all samples before the first block, `group` sequences a piece."""
    return [decoder.embed(ids) for ids in torch.split(clean, group)]


def _measure_block(decoder: Decoder, block: int, hidden: list[Tensor]) -> dict[str, SquaredInput]:
    """Wanda's statistic of the block's matrices, by tensor name, on the hidden states that reach it."""
    matrices = decoder.matrices(block)
    totals: dict[str, SquaredInput] = {}

    def add(name: str, inputs: Tensor) -> None:
        part = SquaredInput.of(inputs)
        totals[name] = totals[name].merge(part) if name in totals else part

    with watching_inputs(matrices, add):
        for state in hidden:
            decoder.run_block(block, state)
    return {
        m.name: totals[watched]
        for watched, sharers in input_owners(matrices).items()
        for m in sharers
    }
