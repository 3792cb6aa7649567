"""How two prunings of one model differ, matrix by matrix as they come: no mask outlives its matrix."""

from torch import Tensor

from core.models.decoder import Matrix
from core.models.families import Dimensions
from core.pruning.heads import HeadTally, by_head


class MaskDifference:
    """Counts over masks of what was removed, |A xor B| and |A or B|."""

    def __init__(self, dimensions: Dimensions) -> None:
        self._dimensions = dimensions
        self.matrices: dict[str, tuple[int, int]] = {}
        """Tensor name → weights that only one of the two removed, and that either did."""
        self.one, self.either, self.ours, self.theirs = (HeadTally(dimensions) for _ in range(4))

    def add(self, matrix: Matrix, ours: Tensor, theirs: Tensor) -> None:
        """Masks (out, in) of one matrix, true where a weight was removed. Rows of one tensor that
        come apart count together."""
        one, either = ours ^ theirs, ours | theirs
        before = self.matrices.get(matrix.name, (0, 0))
        self.matrices[matrix.name] = before[0] + int(one.sum()), before[1] + int(either.sum())
        for tally, mask in (
            (self.one, one),
            (self.either, either),
            (self.ours, ours),
            (self.theirs, theirs),
        ):
            tally.add(matrix.block, matrix.role, by_head(mask, matrix.role, self._dimensions))

    def sparsity_change(self) -> list[list[float]]:
        """Removed share of each head in ours minus that in theirs, (blocks, heads)."""
        both = zip(self.ours.fractions(), self.theirs.fractions(), strict=True)
        return [[a - b for a, b in zip(ours, theirs, strict=True)] for ours, theirs in both]
