"""What a plan is made from, as far as the model's shapes and the spec tell it. Free of torch."""

from core.models.families import Dimensions, Family
from core.models.shapes import matrix_shape
from core.pruning.pattern_values import check_width, pattern_of

PROBE_SAMPLES = 16
"""Sequences a reconstruction is judged on: the ranking of blocks is stable long before that."""


def probe_sequences(allocation: object, samples: int) -> int:
    """Sequences through the whole model that the rule's measurement takes, each forward counted."""
    if allocation == "owl":
        return samples
    return 2 * min(samples, PROBE_SAMPLES) if allocation == "sensitivity" else 0


def widest_inputs(family: Family, dimensions: Dimensions) -> tuple[tuple[int, int], ...]:
    """(in, rows of the matrices that read it) for the inputs of the block with the largest Hessians."""
    # Blocks with experts are alike, and so are those without.
    blocks = {dimensions.routed(b): b for b in reversed(range(dimensions.blocks))}
    inputs = [_inputs(family, dimensions, block) for block in sorted(blocks.values())]
    return max(inputs, key=lambda found: sum(width**2 for width, _ in found))


def _inputs(family: Family, dimensions: Dimensions, block: int) -> tuple[tuple[int, int], ...]:
    found: dict[str, tuple[int, int]] = {}
    for slot in family.slots(dimensions, block):
        rows, width = matrix_shape(dimensions, slot)
        found[slot.source] = width, found.get(slot.source, (width, 0))[1] + rows
    return tuple(found.values())


def check_fit(family: Family, dimensions: Dimensions, pattern: str, sparsity: float) -> None:
    """Raise InvalidSpec where a matrix has a ragged last group under `pattern`."""
    wanted = pattern_of(pattern, sparsity)
    for block in range(dimensions.blocks):
        for slot in family.slots(dimensions, block):
            check_width(slot.place.name, matrix_shape(dimensions, slot)[1], wanted)


def block_sizes(family: Family, dimensions: Dimensions) -> list[int]:
    """Prunable weights of each block."""
    sizes = []
    for block in range(dimensions.blocks):
        shapes = (matrix_shape(dimensions, slot) for slot in family.slots(dimensions, block))
        sizes.append(sum(rows * columns for rows, columns in shapes))
    return sizes
