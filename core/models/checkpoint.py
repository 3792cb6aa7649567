"""Checkpoints in safetensors: read through memory maps, written as the input with some bytes replaced.

The output is a copy of each shard in which only the pruned matrices' bytes are overwritten, so
names, order, shapes, dtypes, metadata and shard map are the input's by construction.
"""

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import BrokenCheckpoint
from core.models.headers import read_header
from core.models.intake import Intake
from core.models.places import gathered, require
from core.progress import Finished, keep_quiet

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Checkpoint:
    """The tensors of a checked folder, by the checkpoint's own names.

    Raises:
        BrokenCheckpoint: a shard is not valid safetensors, or two shards hold one name.
    """

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.places = gathered(
            (shard, read_header(intake.folder / shard, shard.as_posix()))
            for shard in intake.weights
        )

    def fetch(self, names: Iterable[str]) -> None:
        """Have the bytes of these tensors here, of a model that lies elsewhere. `read` does so too,
        one after the other; neighbours that are asked for together come together."""
        places = (self.places[name] for name in names)
        self.intake.fill.ensure((place.shard, place.begin, place.end) for place in places)

    def fetch_all(self) -> None:
        """Have every byte of the shards here."""
        shards = self.intake.weights
        self.intake.fill.ensure((shard, 0, self.intake.size(shard)) for shard in shards)

    def read(self, name: str, rows: tuple[int, int] | None = None) -> Tensor:
        """The tensor `name`, or some rows of it, backed by the shard's memory map if possible."""
        place = self.places[name].of_rows(rows)
        self.intake.fill.ensure([(place.shard, place.begin, place.end)])
        # Not through safe_open, which reads the header anew for each of what may be 15,000 tensors.
        raw = np.memmap(
            self.intake.folder / place.shard, np.uint8, "c", place.begin, (place.end - place.begin,)
        )
        return torch.from_numpy(raw).view(DTYPES[place.dtype]).view(place.shape)

    def dtype(self, name: str) -> torch.dtype:
        """What `name` is saved in."""
        return DTYPES[self.places[name].dtype]

    def require(
        self, shapes: Mapping[str, tuple[int, ...]], tolerated: Collection[str] = ()
    ) -> None:
        """Raise BrokenCheckpoint unless exactly the tensors in `shapes` are there, in those shapes;
        those in `tolerated` may be there too."""
        require(self.places, shapes, tolerated)


class CheckpointWriter:
    """A folder that begins as a byte-for-byte copy and receives pruned matrices one by one.

    With `to_come`, the names of all tensors that will be replaced, as often as each comes, `finished`
    is told of every shard once the last of its tensors has come; of one that awaits none, at once.
    """

    def __init__(
        self,
        source: Checkpoint,
        out: Path,
        to_come: Iterable[str] | None = None,
        finished: Finished = keep_quiet,
    ) -> None:
        self._source, self._out, self._finished = source, out, finished
        source.fetch_all()
        for file in (*source.intake.weights, *source.intake.auxiliary):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.intake.folder / file, out / file)
        self._awaited = None if to_come is None else Counter(map(self._shard_of, to_come))
        for shard in source.intake.weights:
            self._tell_if_final(shard)

    def replace(self, name: str, tensor: Tensor, rows: tuple[int, int] | None = None) -> None:
        """Overwrite `name`, or some rows of it, in the dtype it is saved in.

        A tensor that was read and then widened comes back to the very bytes it was read from.
        """
        place = self._source.places[name].of_rows(rows)
        if tuple(tensor.shape) != place.shape or not tensor.is_floating_point():
            raise ValueError(f"{name}: {tensor.dtype} {list(tensor.shape)} does not fit {place}")
        raw = tensor.detach().to("cpu", DTYPES[place.dtype]).contiguous().view(torch.uint8).numpy()
        if self._awaited is not None and not self._awaited[place.shard]:
            raise ValueError(f"{name} comes after {place.shard} was said to be finished")
        with (self._out / place.shard).open("r+b") as stream:
            stream.seek(place.begin)
            stream.write(raw.tobytes())
        if self._awaited is not None:
            self._awaited[place.shard] -= 1
            self._tell_if_final(place.shard)

    def _shard_of(self, name: str) -> Path:
        return self._source.places[name].shard

    def _tell_if_final(self, shard: Path) -> None:
        if self._awaited is not None and not self._awaited[shard]:
            self._finished(f"{self._out.name}/{shard.as_posix()}", self._out / shard)


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise BrokenCheckpoint if `tensor` holds NaN or infinity."""
    if not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise BrokenCheckpoint(f"{name} holds {bad} values that are NaN or infinite.")
