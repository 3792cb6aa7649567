"""How much of the attention that was watched is kept as it was, for plots. Free of torch."""

from typing import Final

KEPT_BYTES: Final = 64 << 20
"""Of mass by block in float16. A hundred samples of the published calibration on an 8B model
(10 timesteps, 32 blocks, 1024 positions); plots show four, of samples that differ most."""

PATHS: Final = 150
"""Samples whose centroids are kept at least: more lines are not told apart in a plot."""


def kept_samples(samples: int, timesteps: int, blocks: int, positions: int) -> int:
    """The first so many samples' mass is kept: as many as fit, and one in any case."""
    each = 2 * timesteps * blocks * positions
    return min(samples, max(1, KEPT_BYTES // each))
