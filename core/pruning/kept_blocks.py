"""A pruned block as tensors that are smaller than it: which weights are zero, and the others only
where a score changes them.

Bits are compared and not numbers: a dense weight of −0.0 that stays must come back as −0.0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from core.models.decoder import Matrix

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
_WEIGHTS = tuple(1 << bit for bit in range(8))


def packed(flags: Tensor) -> Tensor:
    """Booleans of any shape as bits, eight a byte, the first lowest: (⌈n/8⌉,) uint8."""
    flat = torch.nn.functional.pad(flags.flatten(), (0, -flags.numel() % 8)).view(-1, 8)
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=flags.device)
    return (flat.to(torch.uint8) * weights).sum(1, dtype=torch.uint8)


def unpacked(bits: Tensor, shape: torch.Size) -> Tensor:
    """The booleans that `packed` was given, in their shape."""
    weights = torch.tensor(_WEIGHTS, dtype=torch.uint8, device=bits.device)
    flat = (bits[:, None] & weights).ne(0).flatten()
    return flat[: shape.numel()].view(shape)


def tensors_of(matrices: list[Matrix], *, moved: bool) -> dict[str, Tensor]:
    """What `put_back` needs, on the host. `moved`: weights that stayed may have changed."""
    found: dict[str, Tensor] = {}
    for matrix in matrices:
        weight = matrix.linear.weight.detach().to(matrix.dtype)
        zero = _all_bits_zero(weight)
        found[f"{matrix.key}.zero"] = packed(zero).cpu()
        if moved:
            found[f"{matrix.key}.kept"] = weight[~zero].cpu()
    return found


def put_back(matrix: Matrix, tensor: Callable[[str], Tensor], *, moved: bool) -> None:
    """Make a dense matrix what `tensors_of` was shown."""
    weight = matrix.linear.weight
    zero = unpacked(tensor(f"{matrix.key}.zero").to(weight.device), weight.shape)
    if not moved:
        weight.masked_fill_(zero, 0)
        return
    new = torch.zeros(weight.shape, dtype=matrix.dtype, device=weight.device)
    new[~zero] = tensor(f"{matrix.key}.kept").to(weight.device)
    weight.copy_(new)


def _all_bits_zero(weight: Tensor) -> Tensor:
    return weight.contiguous().view(_INTEGERS[weight.element_size()]) == 0
