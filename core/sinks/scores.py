"""Soft sinks: how much a position behaves like an attention sink."""

import torch
from torch import Tensor

from core.recipes import SinkUse
from core.spec import Sinks


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


def discount(mass: Tensor, use: SinkUse, sinks: Sinks) -> Tensor:
    """ω (samples, timesteps, positions): what each position counts for, from mass of that shape.

    `discount-all` is 1 − φ.  arXiv 2602.17664, §4.  `discount-transient` is 1 − φ·(1 − persistence),
    persistence being the share of its sample's timesteps at which the position is a sink: what never
    moves counts in full. With `keep` every position does.
    """
    if use == "keep":
        return torch.ones_like(mass)
    soft = soft_sink(mass, sinks.threshold_std, sinks.sharpness)
    if use == "discount-transient":
        soft = soft * (1 - persistence(sink_set(mass, sinks.threshold_std)))[:, None]
    return 1 - soft


def persistence(sinks: Tensor) -> Tensor:
    """Share of timesteps at which a position is a sink: (samples, timesteps, positions) bool to
    (samples, positions)."""
    return sinks.float().mean(1)
