"""Soft sinks: how much a position behaves like an attention sink."""

import torch
from torch import Tensor


def soft_sink(mass: Tensor, threshold_std: float, sharpness: float) -> Tensor:
    """φ(j) = sigmoid(α·(m(j) − (mean m + κ·std m))), over the last axis of mass (…, positions).

    The mass is not normalised (its mean is heads × layers) and the deviation is the population's:
    the published thresholds rely on both.  arXiv 2602.17664, §4.
    """
    threshold = mass.mean(-1, keepdim=True) + threshold_std * mass.std(
        -1, keepdim=True, correction=0
    )
    return torch.sigmoid(sharpness * (mass - threshold))


def sink_set(mass: Tensor, threshold_std: float) -> Tensor:
    """S = {j : m(j) > mean m + κ·std m} as a boolean mask shaped like mass (…, positions)."""
    deviation = mass.std(-1, keepdim=True, correction=0)
    return mass > mass.mean(-1, keepdim=True) + threshold_std * deviation
