"""What a token file must hold, told from its header alone. Free of torch."""

from typing import Final

from core.errors import BadTokenFile
from core.models.headers import Header, TensorEntry

CLEAN: Final = "input_ids"
NOISED: Final = "noised_input_ids"


def token_shapes(named: str, header: Header) -> dict[str, tuple[int, ...]]:
    """`input_ids` → (rows, positions) and, if recorded, `noised_input_ids` → (rows, timesteps,
    positions).

    Raises:
        BadTokenFile: missing or surplus tensors, wrong shapes or dtypes.
    """
    if CLEAN not in header or set(header) - {CLEAN, NOISED}:
        held = ", ".join(sorted(header)[:10]) or "nothing"
        raise BadTokenFile(
            f"{named} holds {held}.",
            remedy=f"It must hold {CLEAN} [N, L] and may hold {NOISED} [N, T, L].",
        )
    _check(named, CLEAN, header[CLEAN], axes=2)
    if NOISED in header:
        _check(named, NOISED, header[NOISED], axes=3)
        clean, noised = header[CLEAN].shape, header[NOISED].shape
        if (noised[0], noised[2]) != clean:
            raise BadTokenFile(
                f"{named}: {NOISED} {list(noised)} does not match {CLEAN} {list(clean)}."
            )
    return {name: entry.shape for name, entry in header.items()}


def _check(named: str, name: str, entry: TensorEntry, *, axes: int) -> None:
    if entry.dtype != "I64" or len(entry.shape) != axes or 0 in entry.shape:
        raise BadTokenFile(
            f"{named}: {name} must be int64 (I64) with {axes} non-empty axes, not {entry.dtype}"
            f" {list(entry.shape)}.",
            remedy="Convert it: ids.to(torch.int64).",
        )
