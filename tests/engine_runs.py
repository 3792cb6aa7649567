"""The engine on sequences that a test made: what a whole run does between loading and judging."""

from dataclasses import dataclass, field

from core.calibration.noise import Trajectories
from core.models.decoder import Decoder
from core.pruning.engine import Pruned, prune
from core.pruning.observe import Observation, Watched, measure_all_blocks, observe
from core.pruning.pattern_values import Pattern
from core.pruning.statistics import Statistic, statistic_of
from core.recipes import Recipe
from core.spec import Sinks


def ignore(done: int, of: int) -> None:
    assert 0 < done <= of


@dataclass(frozen=True)
class EngineRun:
    """One recipe on one model; `group` sequences at a time."""

    decoder: Decoder
    trajectories: Trajectories
    recipe: Recipe
    sinks: Sinks = field(default_factory=Sinks)
    group: int = 10
    hold: bool = True
    damping: float = 0.01

    def observe(self) -> Observation:
        held = self.hold and self.recipe.norms_with_mass
        return observe(
            self.decoder, self.trajectories, self.sinks,
            held_for=self.recipe if held else None, group=self.group, watch=ignore,
        )  # fmt: skip

    def watched(self, seen: Observation) -> Watched:
        return Watched.of(self.recipe, self.trajectories, seen.mass, self.sinks)

    def statistics(self) -> dict[str, Statistic]:
        """Of the dense model, where the recipe takes those of all blocks at once."""
        seen = self.observe()
        if seen.statistics or not self.recipe.all_blocks_at_once:
            return seen.statistics
        kind = statistic_of(self.recipe)
        return measure_all_blocks(
            self.decoder, self.watched(seen), kind, group=self.group, watch=ignore
        )

    def prune(self, pattern: Pattern) -> list[Pruned]:
        """Prune every matrix of the decoder in place."""
        watched = self.watched(self.observe()) if self.recipe.block_by_block else None
        found: list[Pruned] = []
        prune(
            self.decoder,
            self.recipe,
            {m.key: pattern for m in self.decoder.all_matrices()},
            damping=self.damping,
            statistics=self.statistics(),
            watched=watched,
            group=self.group,
            keep=found.append,
            watch=ignore,
        )
        return found
