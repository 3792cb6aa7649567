"""The one pruning loop: for every recipe and every family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from core.models.decoder import Decoder, Matrix
from core.pruning import sparsegpt
from core.pruning.heads import by_head
from core.pruning.observe import Watch, Watched, input_owners, measure_block
from core.pruning.pattern_values import Pattern, check_width
from core.pruning.patterns import choose_by_row, choose_overall
from core.pruning.scores import magnitude_score, wanda_score
from core.pruning.statistics import (
    DiscountedNorms,
    Hessian,
    SquaredInput,
    Statistic,
    statistic_of,
)
from core.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Pruned:
    """One matrix after pruning."""

    matrix: Matrix
    removed: int
    statistic: Statistic | None
    reached: bool
    """Whether any calibration token reached it; else it was pruned by magnitude."""
    heads: tuple[int, ...] = ()
    """Of `removed`, what belongs to each head, see `core.pruning.heads.by_head`."""


Keep = Callable[[Pruned], None]
"""Called with each matrix as soon as its weights are final."""


class Finished(Protocol):
    """Blocks that an earlier run has pruned, the first of them, and where new ones are kept."""

    count: int

    def put_back(self, matrices: list[Matrix]) -> list[Pruned]:
        """Make the next block's dense matrices what they were after pruning."""

    def keep(self, block: int, pruned: list[Pruned]) -> None:
        """The block is finished, and so is what the next one will see."""


class NoneFinished:
    """`Finished` for runs that start at the beginning and keep nothing on their way."""

    count = 0

    def put_back(self, matrices: list[Matrix]) -> list[Pruned]:  # noqa: ARG002 - the protocol's
        raise AssertionError("no block is finished")

    def keep(self, block: int, pruned: list[Pruned]) -> None:
        """Nothing is kept."""


NONE_FINISHED = NoneFinished()

Remove = Callable[[Tensor, Pattern], tuple[Tensor, Tensor]]
"""(out, in) weight and pattern to the new weight and the mask of what was removed."""


@torch.inference_mode()
def prune(
    decoder: Decoder,
    recipe: Recipe,
    patterns: Mapping[str, Pattern],
    *,
    damping: float,
    statistics: Mapping[str, Statistic],
    watched: Watched | None,
    group: int,
    keep: Keep,
    watch: Watch,
    finished: Finished = NONE_FINISHED,
) -> None:
    """Prune every block's matrices in place and hand each to `keep`.

    Args:
        patterns: for each matrix, by its `key`.
        damping: of SparseGPT's Hessians.
        statistics: of all blocks' inputs, where the recipe takes them from the dense model at once.
        watched: what goes from block to block where it does not. In a sequential recipe block b + 1
            sees the outputs of the pruned block b, in a one-shot recipe those of the dense one.
        group: sequences in one forward of a block.
        finished: blocks that need not be pruned again. Hidden states pass through them as they did
            then, so the blocks that follow see the very same numbers.
    """
    blocks = len(decoder.blocks)
    carries = recipe.block_by_block and finished.count < blocks
    carried = _Carried(decoder, recipe, watched, group) if carries else None
    _go_through(decoder, finished, carried, keep, watch)
    for block in range(finished.count, blocks):
        if carried is not None:
            statistics = carried.measure(block)
        done = []
        for source, sharers in input_owners(decoder.matrices(block)).items():
            found = statistics.get(source)
            reached = found is not None or recipe.score == "magnitude"
            remove = _remover(recipe, found, sharers[0], damping)
            for matrix in sharers:
                removed = apply(matrix, remove, patterns[matrix.key])
                heads = by_head(removed, matrix.role, decoder.dimensions)
                done.append(Pruned(matrix, int(removed.sum()), found, reached, heads))
                keep(done[-1])
        if carried is not None and block + 1 < blocks:
            carried.advance(block)
        finished.keep(block, done)
        watch(block + 1, blocks)


def _go_through(
    decoder: Decoder, finished: Finished, carried: "_Carried | None", keep: Keep, watch: Watch
) -> None:
    """Have the finished blocks as they are, and hidden states behind the last of them."""
    counted = decoder.block_sequences
    for block in range(finished.count):
        if carried is not None:
            carried.pass_dense(block)
        for pruned in finished.put_back(decoder.matrices(block)):
            keep(pruned)
        if carried is not None:
            carried.advance(block)
        watch(finished.count, len(decoder.blocks))
    # What was run a second time is no part of what the result took.
    decoder.block_sequences = counted


def apply(matrix: Matrix, remove: Remove, pattern: Pattern) -> Tensor:
    """Prune one matrix in place; which weights went, (out, in) bool."""
    weight = matrix.linear.weight
    check_width(matrix.name, weight.shape[1], pattern)
    new, removed = remove(weight, pattern)
    # What the checkpoint will hold is what the next block must see.
    weight.copy_(new.to(matrix.dtype))
    return removed


def _remover(recipe: Recipe, statistic: Statistic | None, matrix: Matrix, damping: float) -> Remove:
    """How matrices with this input lose weights, whatever can be shared between them done once."""
    width, device = matrix.linear.in_features, matrix.linear.weight.device
    match recipe.score, statistic:
        case "magnitude", _:
            return by_magnitude
        case "wanda", DiscountedNorms() | SquaredInput():
            return partial(by_row, input_norm=statistic.input_norm())
        case "wanda", _:
            return partial(by_row, input_norm=torch.ones(width, device=device))
        case "sparsegpt", Hessian():
            factor = sparsegpt.inverse_factor(statistic, damping, matrix.name)
        case _:
            factor = sparsegpt.without_inputs(width, device)
    return lambda weight, pattern: sparsegpt.solve(weight, factor, pattern)


def by_magnitude(weight: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    removed = choose_overall(magnitude_score(weight), pattern)
    return weight.masked_fill(removed, 0), removed


def by_row(weight: Tensor, pattern: Pattern, *, input_norm: Tensor) -> tuple[Tensor, Tensor]:
    removed = choose_by_row(wanda_score(weight, input_norm), pattern)
    return weight.masked_fill(removed, 0), removed


class _Carried:
    """Hidden states on their way through the blocks, `group` sequences a piece."""

    def __init__(
        self, decoder: Decoder, recipe: Recipe, watched: Watched | None, group: int
    ) -> None:
        assert watched is not None
        self._decoder, self._kind = decoder, statistic_of(recipe)
        self._sequential = recipe.order == "sequential"
        self._hidden = [decoder.embed(ids) for ids in torch.split(watched.ids, group)]
        self._weight = list(torch.split(watched.weight, group))

    def measure(self, block: int) -> dict[str, Statistic]:
        return measure_block(
            self._decoder,
            block,
            self._hidden,
            self._weight,
            self._kind,
            advance=not self._sequential,
        )

    def advance(self, block: int) -> None:
        """To the pruned block's outputs; in a one-shot recipe the dense block's are there already."""
        if self._sequential:
            self._run(block)

    def pass_dense(self, block: int) -> None:
        """What `measure` does to the hidden states, without measuring."""
        if not self._sequential:
            self._run(block)

    def _run(self, block: int) -> None:
        for i, state in enumerate(self._hidden):
            self._hidden[i] = self._decoder.run_block(block, state)
