"""Where a checkpoint's tensors lie, over all of its shards. Free of torch."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from core.errors import BrokenCheckpoint
from core.models.headers import Header

ELEMENT_BYTES: Final[Mapping[str, int]] = {"F32": 4, "F16": 2, "BF16": 2}
"""Dtypes that weights may be saved in → bytes of one."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where one tensor's bytes lie."""

    shard: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    """Byte range within the shard file."""

    def of_rows(self, rows: tuple[int, int] | None) -> "TensorPlace":
        """Where some rows of the tensor lie, as a place of their own; all of them for None."""
        if rows is None:
            return self
        begin, end = rows
        if not 0 <= begin < end <= self.shape[0]:
            raise ValueError(f"rows {begin}…{end} do not lie in {self}")
        row = (self.end - self.begin) // self.shape[0]
        at = self.begin + begin * row
        shape = (end - begin, *self.shape[1:])
        return replace(self, shape=shape, begin=at, end=at + shape[0] * row)


MAX_TENSORS: Final = 200_000
"""In all shards together."""

Places = dict[str, TensorPlace]


def gathered(headers: Iterable[tuple[Path, Header]]) -> Places:
    """All tensors of the shards, by name.

    Raises:
        BrokenCheckpoint: two shards hold one name.
    """
    found: Places = {}
    for shard, header in headers:
        for name, entry in header.items():
            if name in found:
                raise BrokenCheckpoint(
                    f"tensor {name} is in both {found[name].shard} and {shard}.",
                    remedy="Export the checkpoint again, each tensor once.",
                )
            if len(found) == MAX_TENSORS:
                raise BrokenCheckpoint(f"the shards hold more than {MAX_TENSORS} tensors.")
            found[name] = TensorPlace(shard, entry.dtype, entry.shape, entry.begin, entry.end)
    return found


def require(
    places: Mapping[str, TensorPlace],
    shapes: Mapping[str, tuple[int, ...]],
    tolerated: Collection[str] = (),
) -> None:
    """Raise BrokenCheckpoint unless exactly the tensors in `shapes` are there, in those shapes;
    those in `tolerated` may be there too."""
    missing = sorted(set(shapes) - set(places))
    if missing:
        raise BrokenCheckpoint(
            f"{len(missing)} tensors are missing, the first is {missing[0]}.",
            remedy="Download the checkpoint again, or compare its config.json.",
        )
    surplus = sorted(set(places) - set(shapes) - set(tolerated))
    if surplus:
        raise BrokenCheckpoint(
            f"{len(surplus)} tensors do not belong to this family, the first is {surplus[0]}."
        )
    for name, shape in shapes.items():
        place = places[name]
        if place.shape != shape:
            raise BrokenCheckpoint(
                f"{name} has shape {list(place.shape)}; config.json implies {list(shape)}."
            )
    for name in places:
        # Of a tolerated tensor, too: a head that is tied is held against the embedding.
        if places[name].dtype not in ELEMENT_BYTES:
            raise BrokenCheckpoint(
                f"{name} has dtype {places[name].dtype}; {', '.join(ELEMENT_BYTES)} can be pruned.",
                remedy="Quantised checkpoints must be converted back first.",
            )
