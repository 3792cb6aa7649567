"""Methods are rows of a table: they differ in these columns and in nothing else.

Free of torch, since the job contract is checked against this table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Method = Literal["magnitude", "wanda", "sink-wanda", "sparsegpt", "sink-sparsegpt"]
Score = Literal["magnitude", "wanda", "sparsegpt"]
Inputs = Literal["clean", "noised"]
Order = Literal["sequential", "one-shot"]
SinkUse = Literal["keep", "discount-all", "discount-transient"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run does. `inputs`, `order` and `sinks` are None where the score reads no inputs."""

    score: Score
    inputs: Inputs | None
    order: Order | None
    sinks: SinkUse | None

    def with_overrides(
        self, inputs: Inputs | None, order: Order | None, sinks: SinkUse | None
    ) -> "Recipe":
        """This row with the cells that are given. None leaves the row's own."""
        return replace(
            self,
            inputs=inputs or self.inputs,
            order=order or self.order,
            sinks=sinks or self.sinks,
        )

    @property
    def discounts(self) -> bool:
        return self.sinks in ("discount-all", "discount-transient")

    @property
    def reads_timesteps(self) -> bool:
        """Whether the noised sequences matter for what is removed."""
        return self.inputs == "noised" or self.discounts

    @property
    def norms_with_mass(self) -> bool:
        """Whether input norms can be taken in the very forward that finds the attention mass."""
        return self.score == "wanda" and self.inputs == "noised" and self.order == "one-shot"

    @property
    def all_blocks_at_once(self) -> bool:
        """Whether the dense model's statistics of all blocks are small enough to be taken together.

        Norms are vectors. Hessians are matrices: only one block's are ever held.
        """
        return self.score == "wanda" and self.order == "one-shot"

    @property
    def block_by_block(self) -> bool:
        """Whether hidden states are carried from block to block."""
        return self.score != "magnitude" and not self.all_blocks_at_once


METHODS: dict[Method, Recipe] = {
    "magnitude": Recipe("magnitude", None, None, None),
    "wanda": Recipe("wanda", "clean", "sequential", "keep"),
    "sink-wanda": Recipe("wanda", "noised", "one-shot", "discount-all"),
    "sparsegpt": Recipe("sparsegpt", "clean", "sequential", "keep"),
    "sink-sparsegpt": Recipe("sparsegpt", "clean", "sequential", "discount-all"),
}


def cells() -> Iterator[Recipe]:
    """The grid {clean, noised} × {sequential, one-shot} × {keep, discount-all, discount-transient}
    for each score that reads inputs."""
    inputs: tuple[Inputs, ...] = ("clean", "noised")
    orders: tuple[Order, ...] = ("sequential", "one-shot")
    sinks: tuple[SinkUse, ...] = ("keep", "discount-all", "discount-transient")
    scores: tuple[Score, ...] = ("wanda", "sparsegpt")
    for score in scores:
        for i in inputs:
            for o in orders:
                for s in sinks:
                    yield Recipe(score, i, o, s)
