"""How sparsity is shared out over the blocks, and the exact number each matrix loses.

Pure functions: what a rule needs to know of the model is measured in `probes`.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from core.errors import InvalidSpec
from core.pruning.pattern_values import Exactly

MOST = 0.99
"""No rule empties a block."""

TOLERANCE = 1e-3
"""How far the mean of an explicit list may lie from the sparsity that is asked for."""


def early_sparser(sparsity: float, blocks: int, spread: float) -> list[float]:
    """From s + spread in the first block in a straight line to s − spread in the last.

    Early layers of diffusion language models collapse first and can lose more than late ones.
    arXiv 2605.06366.
    """
    if blocks == 1:
        return [sparsity]
    return [sparsity + spread * (1 - 2 * b / (blocks - 1)) for b in range(blocks)]


def less_where_more(sparsity: float, measured: Sequence[float], spread: float) -> list[float]:
    """A block whose measure is large loses less: s − (x_b − mean x), with the measures scaled to
    x in [0, 2·spread].  OWL, Yin et al. 2023 (arXiv 2310.05175), §3.2, with their λ as spread."""
    low, high = min(measured), max(measured)
    if not high > low:
        return [sparsity] * len(measured)
    scaled = [2 * spread * (m - low) / (high - low) for m in measured]
    mean = sum(scaled) / len(scaled)
    return [sparsity - (x - mean) for x in scaled]


def balanced(shares: Sequence[float], sizes: Sequence[int], sparsity: float) -> list[float]:
    """`shares` moved by one common amount, kept within 0…0.99, so that their mean weighted by `sizes`
    (weights a block) is `sparsity`."""
    most = max(MOST, sparsity, *(share for share in shares if share < 1))
    total = sparsity * sum(sizes)

    def moved(by: float) -> list[float]:
        return [min(max(share + by, 0.0), most) for share in shares]

    low, high = -2.0, 2.0
    for _ in range(60):
        by = (low + high) / 2
        if sum(s * n for s, n in zip(moved(by), sizes, strict=True)) < total:
            low = by
        else:
            high = by
    return moved(high)


def check_list(shares: Sequence[float], sizes: Sequence[int], sparsity: float) -> None:
    """Raise InvalidSpec unless there is one share per block and their weighted mean is `sparsity`."""
    if len(shares) != len(sizes):
        raise InvalidSpec(
            f"recipe.allocation lists {len(shares)} shares and the model has {len(sizes)} blocks.",
            remedy="Give one share per block.",
        )
    mean = sum(s * n for s, n in zip(shares, sizes, strict=True)) / sum(sizes)
    if abs(mean - sparsity) > TOLERANCE:
        raise InvalidSpec(
            f"recipe.allocation removes {mean:.4f} of the weights and sparsity asks for {sparsity:g}.",
            remedy=f"Ask for sparsity {mean:.4f}, or change the list.",
        )


def exact_counts(
    shares: Mapping[str, float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, Exactly]:
    """How many weights each matrix loses so that all together lose ⌊s·N⌋ of N.

    Each gets its share of its size rounded down; what is missing goes, one weight each, to those that
    lost most in rounding, of equals to the earlier.
    """
    total = math.floor(Fraction(str(sparsity)) * sum(sizes.values()))
    ideal = {name: Fraction(shares[name]) * size for name, size in sizes.items()}
    counts = {name: math.floor(value) for name, value in ideal.items()}
    order = sorted(ideal, key=lambda name: counts[name] - ideal[name])
    missing = total - sum(counts.values())
    step = 1 if missing > 0 else -1
    while missing:
        for name in order if step > 0 else reversed(order):
            if missing and 0 <= counts[name] + step <= sizes[name]:
                counts[name] += step
                missing -= step
    return {name: Exactly(count) for name, count in counts.items()}
