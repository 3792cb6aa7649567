"""Token files: calibration sequences, and optionally a recorded trajectory, as safetensors."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.calibration.noise import Trajectories
from core.errors import BadTokenFile, TextNotFound


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
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadTokenFile(f"{path.name} is not a valid safetensors file: {error}.") from None
    if "input_ids" not in tensors or set(tensors) - {"input_ids", "noised_input_ids"}:
        raise BadTokenFile(
            f"{path.name} holds {', '.join(sorted(tensors)) or 'nothing'}.",
            remedy="It must hold input_ids [N, L] and may hold noised_input_ids [N, T, L].",
        )
    clean, noised = tensors["input_ids"], tensors.get("noised_input_ids")
    _check(path, "input_ids", clean, 2, vocabulary)
    if noised is not None:
        _check(path, "noised_input_ids", noised, 3, vocabulary)
        if (noised.shape[0], noised.shape[2]) != tuple(clean.shape):
            raise BadTokenFile(
                f"{path.name}: noised_input_ids {list(noised.shape)} does not match input_ids {list(clean.shape)}."
            )
    return TokenFile(clean, noised)


def write_token_file(path: Path, trajectories: Trajectories) -> None:
    """Save a trajectory as a token file, which as `calibration.source` gives the same ids again.

    Only ids are kept: read back, rates are the shares that were corrupted, weights those of the
    spec, and timesteps are labelled anew.

    Raises:
        BadTokenFile: `path` has a suffix under which it would not be read as a token file.
    """
    if path.suffix != ".safetensors":
        raise BadTokenFile(f"{path.name}: a token file's name must end in .safetensors.")
    tensors = {"input_ids": trajectories.clean, "noised_input_ids": trajectories.noised}
    save_file({name: ids.contiguous() for name, ids in tensors.items()}, path)


def _check(path: Path, name: str, ids: Tensor, axes: int, vocabulary: int) -> None:
    if ids.dtype != torch.int64 or ids.ndim != axes or 0 in ids.shape:
        raise BadTokenFile(
            f"{path.name}: {name} must be int64 with {axes} non-empty axes, not {ids.dtype} {list(ids.shape)}."
        )
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise BadTokenFile(
            f"{path.name}: {name} has ids outside 0…{vocabulary - 1}, the model's vocabulary."
        )
