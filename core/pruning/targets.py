"""From a spec's sparsity, pattern and allocation to what each matrix has to lose."""

from dataclasses import dataclass

from torch import Tensor

from core.models.decoder import Decoder
from core.pruning import allocation, probes
from core.pruning.observe import Watch
from core.pruning.pattern_values import Pattern, check_width, pattern_of
from core.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Targets:
    """What is to go."""

    patterns: dict[str, Pattern]
    """For each matrix, by its `key`."""
    shares: tuple[float, ...] | None = None
    """Each block's share, where an allocation hands them out."""


def make_targets(
    decoder: Decoder, spec: JobSpec, clean: Tensor, *, group: int, watch: Watch
) -> Targets:
    """Targets of every matrix; rules that measure the dense model do so on clean (samples, positions).

    Raises:
        InvalidSpec: a matrix has a ragged last group, or an explicit list does not fit the model.
    """
    matrices = decoder.all_matrices()
    if spec.recipe.allocation == "uniform":
        pattern = pattern_of(spec.pattern, spec.sparsity)
        for matrix in matrices:
            check_width(matrix.name, matrix.linear.in_features, pattern)
        return Targets({m.key: pattern for m in matrices})
    sizes = {m.key: m.linear.weight.numel() for m in matrices}
    by_block = [0] * len(decoder.blocks)
    for matrix in matrices:
        by_block[matrix.block] += sizes[matrix.key]
    shares = _block_shares(decoder, spec, by_block, clean, group, watch)
    shares = allocation.balanced(shares, by_block, spec.sparsity)
    counts = allocation.exact_counts(
        {m.key: shares[m.block] for m in matrices}, sizes, spec.sparsity
    )
    return Targets(dict(counts), tuple(shares))


def _block_shares(
    decoder: Decoder, spec: JobSpec, sizes: list[int], clean: Tensor, group: int, watch: Watch
) -> list[float]:
    sparsity, recipe = spec.sparsity, spec.recipe
    match recipe.allocation:
        case "owl":
            measured = probes.outlier_shares(
                decoder, clean, recipe.outlier_threshold, group=group, watch=watch
            )
        case "sensitivity":
            measured = probes.reconstruction_errors(
                decoder, clean, sparsity,
                magnitude=spec.resolved_recipe.score == "magnitude", group=group, watch=watch,
            )  # fmt: skip
        case "early-sparser":
            return allocation.early_sparser(sparsity, len(sizes), recipe.allocation_spread)
        case "uniform":
            return [sparsity] * len(sizes)
        case shares:
            allocation.check_list(shares, sizes, sparsity)
            return list(shares)
    return allocation.less_where_more(sparsity, measured, recipe.allocation_spread)
