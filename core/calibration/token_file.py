"""Token files: calibration sequences, and optionally a recorded trajectory, as safetensors."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.calibration.noise import Trajectories
from core.calibration.token_shapes import CLEAN, NOISED, token_shapes
from core.errors import BadTokenFile, BrokenCheckpoint, TextNotFound
from core.models.headers import Header, read_header


@dataclass(frozen=True, slots=True)
class TokenFile:
    """input_ids (rows, positions) and, if recorded, noised (rows, timesteps, positions), int64."""

    input_ids: Tensor
    noised: Tensor | None


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
    for name in shapes:
        _check_ids(path, name, tensors[name], vocabulary)
    return TokenFile(tensors[CLEAN], tensors.get(NOISED))


def _header(path: Path) -> Header:
    try:
        return read_header(path, path.name)
    except BrokenCheckpoint as error:
        raise BadTokenFile(error.message, remedy=error.remedy) from None


def write_token_file(path: Path, trajectories: Trajectories) -> None:
    """Save a trajectory as a token file, which as `calibration.source` gives the same ids again.

    Only ids are kept: read back, rates are the shares that were corrupted, weights those of the
    spec, and timesteps are labelled anew.

    Raises:
        BadTokenFile: `path` has a suffix under which it would not be read as a token file.
    """
    if path.suffix != ".safetensors":
        raise BadTokenFile(f"{path.name}: a token file's name must end in .safetensors.")
    tensors = {CLEAN: trajectories.clean, NOISED: trajectories.noised}
    save_file({name: ids.contiguous() for name, ids in tensors.items()}, path)


def _check_ids(path: Path, name: str, ids: Tensor, vocabulary: int) -> None:
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise BadTokenFile(
            f"{path.name}: {name} has ids outside 0…{vocabulary - 1}, the model's vocabulary."
        )
