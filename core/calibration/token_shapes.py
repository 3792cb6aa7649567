"""What a token file must hold, told from its header alone. Free of torch."""

from typing import Final

from core.errors import BadTokenFile
from core.models.headers import Header, TensorEntry

CLEAN: Final = "input_ids"
NOISED: Final = "noised_input_ids"
LENGTHS: Final = "lengths"
TIMESTEPS: Final = "timesteps"


def token_shapes(named: str, header: Header) -> dict[str, tuple[int, ...]]:
    """`input_ids` → (rows, positions) and, if recorded, `noised_input_ids` → (rows, timesteps,
    positions), with `lengths` → (rows, timesteps) and `timesteps` → (timesteps,) where these are.

    Raises:
        BadTokenFile: missing or surplus tensors, wrong shapes or dtypes.
    """
    surplus = set(header) - {CLEAN, NOISED, LENGTHS, TIMESTEPS}
    alone = NOISED not in header and len(header) > 1
    if CLEAN not in header or surplus or alone:
        held = ", ".join(sorted(header)[:10]) or "nothing"
        raise BadTokenFile(
            f"{named} holds {held}.",
            remedy=(
                f"It must hold {CLEAN} [N, L] and may hold {NOISED} [N, T, L], and beside that"
                f" {LENGTHS} [N, T] and {TIMESTEPS} [T]."
            ),
        )
    _check(named, CLEAN, header[CLEAN], axes=2)
    if NOISED in header:
        _check(named, NOISED, header[NOISED], axes=3)
        rows, timesteps, positions = header[NOISED].shape
        expected = {
            CLEAN: (rows, positions),
            LENGTHS: (rows, timesteps),
            TIMESTEPS: (timesteps,),
        }
        for name, shape in expected.items():
            if name in header:
                _check(named, name, header[name], axes=len(shape))
                _compare(named, name, header, shape)
    return {name: entry.shape for name, entry in header.items()}


def _compare(named: str, name: str, header: Header, shape: tuple[int, ...]) -> None:
    found = header[name].shape
    if found != shape:
        raise BadTokenFile(
            f"{named}: {NOISED} {list(header[NOISED].shape)} does not match {name} {list(found)}."
        )


def _check(named: str, name: str, entry: TensorEntry, *, axes: int) -> None:
    if entry.dtype != "I64" or len(entry.shape) != axes or 0 in entry.shape:
        raise BadTokenFile(
            f"{named}: {name} must be int64 (I64) with {axes} non-empty axes, not {entry.dtype}"
            f" {list(entry.shape)}.",
            remedy="Convert it: ids.to(torch.int64).",
        )
