"""How many forwards each look beyond the loss takes. Free of torch: plans and estimates count them."""

from typing import Final, Literal

from core.evaluation.draws import draws_of
from core.models.families import Family
from core.spec import Evaluation

Condition = Literal[
    "none", "all", "stable", "transient", "random", "random-stable", "random-transient"
]
CONDITIONS: Final[dict[Condition, int]] = {
    "none": 1, "all": 1, "stable": 1, "transient": 1,
    "random": 3, "random-stable": 1, "random-transient": 1,
}  # fmt: skip
"""What is hidden from attention in a knock-out → how often each sequence is judged so: random
positions are drawn anew each time."""
PASSES: Final = sum(CONDITIONS.values())

BLOCKS_SAMPLES: Final = 8
"""Sequences that each block's error is measured on: at most, one of each stratum of noise."""
BLOCKS_FORWARDS: Final = 3
"""Dense on dense states, pruned on dense states, pruned on pruned states."""

SINKS_SAMPLES: Final = 8
"""Calibration samples on which the pruned model is watched: at most."""

Look = Literal["knockout", "reconstruction", "sinks_after", "baseline"]


def knockout_sequences(evaluated: int, family: Family) -> int:
    """At most: what hides the same positions as another condition is not judged again."""
    return PASSES * evaluated * draws_of(family)


def sequences_by_look(
    asked: Evaluation, family: Family, *, evaluated: int, samples: int, timesteps: int
) -> dict[Look, int]:
    """Sequences through the whole model for each look that is asked for; of a baseline, those that it
    is judged on.

    `evaluated` are evaluation samples, `samples` and `timesteps` those of calibration.
    """
    found: dict[Look, int] = {}
    if asked.knockout:
        found["knockout"] = knockout_sequences(evaluated, family)
    if asked.reconstruction:
        found["reconstruction"] = BLOCKS_FORWARDS * min(evaluated, BLOCKS_SAMPLES)
    if asked.sinks_after:
        found["sinks_after"] = min(samples, SINKS_SAMPLES) * timesteps
    if asked.baseline is not None:
        found["baseline"] = evaluated * draws_of(family) if asked.nelbo else 0
    return found
