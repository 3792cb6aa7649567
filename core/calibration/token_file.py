"""Token files: calibration sequences, and optionally a recorded trajectory, as safetensors."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.calibration.noise import Trajectories
from core.calibration.token_shapes import CLEAN, LENGTHS, NOISED, TIMESTEPS, token_shapes
from core.errors import BadTokenFile, BrokenCheckpoint, TextNotFound
from core.models.headers import Header, read_header

MAX_TIMESTEP: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TokenFile:
    """input_ids (rows, positions) and, if recorded, noised (rows, timesteps, positions), int64."""

    input_ids: Tensor
    noised: Tensor | None = None
    lengths: Tensor | None = None
    """(rows, timesteps) int64: positions that exist at a timestep; None where all do."""
    timesteps: tuple[int, ...] | None = None
    """What the timesteps are called, ascending; None where that is not recorded."""

    def first(self, rows: int) -> "TokenFile":
        return TokenFile(
            self.input_ids[:rows],
            None if self.noised is None else self.noised[:rows],
            None if self.lengths is None else self.lengths[:rows],
            self.timesteps,
        )


def read_token_file(path: Path, vocabulary: int) -> TokenFile:
    """The token file at `path`, every id below `vocabulary`.

    Raises:
        TextNotFound: no such file.
        BadTokenFile: not safetensors, missing or surplus tensors, wrong shape, dtype or ids.
    """
    if not path.is_file():
        raise TextNotFound(f"{path} is not a file.", remedy="Check calibration.source.")
    shapes = token_shapes(path.name, _header(path))
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadTokenFile(f"{path.name} is not a valid safetensors file: {error}.") from None
    for name in (name for name in (CLEAN, NOISED) if name in shapes):
        _check_ids(path, name, tensors[name], vocabulary)
    if (lengths := tensors.get(LENGTHS)) is not None:
        _check_lengths(path, lengths, tensors[CLEAN].shape[1])
    timesteps = _timesteps(path, tensors[TIMESTEPS].tolist()) if TIMESTEPS in tensors else None
    return TokenFile(tensors[CLEAN], tensors.get(NOISED), lengths, timesteps)


def _header(path: Path) -> Header:
    try:
        return read_header(path, path.name)
    except BrokenCheckpoint as error:
        raise BadTokenFile(error.message, remedy=error.remedy) from None


def write_token_file(path: Path, trajectories: Trajectories) -> None:
    """Save a trajectory as a token file, which as `calibration.source` gives the same states again.

    Read back, rates are the shares that were corrupted, and weights those of the spec.

    Raises:
        BadTokenFile: `path` has a suffix under which it would not be read as a token file.
    """
    if path.suffix != ".safetensors":
        raise BadTokenFile(f"{path.name}: a token file's name must end in .safetensors.")
    tensors = {
        CLEAN: trajectories.clean,
        NOISED: trajectories.noised,
        TIMESTEPS: torch.tensor(trajectories.timesteps, dtype=torch.int64),
    }
    if (lengths := trajectories.lengths) is not None:
        tensors[LENGTHS] = lengths
    # A copy of each, since the library refuses tensors that share memory.
    save_file(
        {name: each.clone(memory_format=torch.contiguous_format) for name, each in tensors.items()},
        path,
    )


def _check_ids(path: Path, name: str, ids: Tensor, vocabulary: int) -> None:
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise BadTokenFile(
            f"{path.name}: {name} has ids outside 0…{vocabulary - 1}, the model's vocabulary."
        )


def _check_lengths(path: Path, lengths: Tensor, positions: int) -> None:
    if int(lengths.min()) < 1 or int(lengths.max()) > positions:
        raise BadTokenFile(f"{path.name}: {LENGTHS} has values outside 1…{positions}.")


def _timesteps(path: Path, found: list[int]) -> tuple[int, ...]:
    ascending = all(before < after for before, after in pairwise(found))
    if not ascending or found[0] < 0 or found[-1] > MAX_TIMESTEP:
        raise BadTokenFile(
            f"{path.name}: {TIMESTEPS} must be numbers that grow, from 0 to {MAX_TIMESTEP} at most."
        )
    return tuple(found)
