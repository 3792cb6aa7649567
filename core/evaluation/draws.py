"""How many noised copies of a sequence a model is judged on. Free of torch."""

from typing import Final

from core.models.families import Family

DRAWS = 8
"""Stratified timesteps per sample: fewer leave the bound noisier than what pruning changes."""

BANDS: Final = 4
"""Equal parts of the noise levels, or of the text: two of the strata each."""


def draws_of(family: Family) -> int:
    """Sequences that a model of this family is shown for each sample."""
    return 1 if family.attention == "causal" else DRAWS
