"""Importance of a weight: one formula, one pure function."""

from torch import Tensor


def wanda_score(weight: Tensor, input_norm: Tensor) -> Tensor:
    """|W_of|·‖X_f‖, shapes (out, in), (in,) → (out, in) float32.  Sun et al. 2023, eq. 1."""
    return weight.float().abs() * input_norm


def magnitude_score(weight: Tensor) -> Tensor:
    """|W|, (out, in) → (out, in) float32."""
    return weight.float().abs()
