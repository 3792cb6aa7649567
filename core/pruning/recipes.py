"""Methods are rows of a table: they differ in these columns and in nothing else."""

from dataclasses import dataclass
from typing import Literal

from core.spec import METHOD_ROWS, JobSpec

Score = Literal["magnitude", "wanda"]

SCORES: dict[str, Score] = {"magnitude": "magnitude", "wanda": "wanda", "sink-wanda": "wanda"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run does. `inputs`, `order` and `sinks` are None where the score reads no inputs."""

    score: Score
    inputs: str | None
    order: str | None
    sinks: str | None

    @classmethod
    def of(cls, spec: JobSpec) -> "Recipe":
        """The method's row. Overrides that differ from it were refused with the spec."""
        return cls(SCORES[spec.method], *METHOD_ROWS[spec.method])

    @property
    def one_shot(self) -> bool:
        """Whether all statistics come from the dense model, together with the attention mass."""
        return self.order == "one-shot"

    def as_dict(self, allocation: str) -> dict[str, str | None]:
        return {
            "score": self.score,
            "inputs": self.inputs,
            "order": self.order,
            "sinks": self.sinks,
            "allocation": allocation,
        }
