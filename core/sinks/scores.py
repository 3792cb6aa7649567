"""Soft sinks: how much a position behaves like an attention sink.

Where positions come into being one after the other, `present`, bool and shaped like the mass, says which
exist: means and deviations are over these, and the others are never sinks.
"""

import torch
from torch import Tensor

from core.recipes import SinkUse
from core.spec import Sinks


def soft_sink(
    mass: Tensor, threshold_std: float, sharpness: float, present: Tensor | None = None
) -> Tensor:
    """φ(j) = sigmoid(α·(m(j) − (mean m + κ·std m))), over the last axis of mass (…, positions).

    The mass is not normalised (its mean is heads × layers) and the deviation is the population's:
    the published thresholds rely on both.  arXiv 2602.17664, §4.  Both are of the positions that are
    `present` (…, positions), where not all are.
    """
    soft = torch.sigmoid(sharpness * (mass - threshold(mass, threshold_std, present)))
    return soft if present is None else soft.where(present, 0.0)


def sink_set(mass: Tensor, threshold_std: float, present: Tensor | None = None) -> Tensor:
    """S = {j : m(j) > mean m + κ·std m} as a boolean mask shaped like mass (…, positions)."""
    sinks = mass > threshold(mass, threshold_std, present)
    return sinks if present is None else sinks & present


def threshold(mass: Tensor, threshold_std: float, present: Tensor | None = None) -> Tensor:
    """mean m + κ·std m over the last axis of mass (…, positions) → (…, 1); NaN, which nothing
    exceeds, where no position is present."""
    if present is None:
        deviation = mass.std(-1, keepdim=True, correction=0)
        return mass.mean(-1, keepdim=True) + threshold_std * deviation
    count = present.sum(-1, keepdim=True)
    mean = mass.where(present, 0.0).sum(-1, keepdim=True) / count
    squares = (mass - mean).where(present, 0.0).square().sum(-1, keepdim=True)
    return mean + threshold_std * (squares / count).sqrt()


def discount(mass: Tensor, use: SinkUse, sinks: Sinks, present: Tensor | None = None) -> Tensor:
    """ω (samples, timesteps, positions): what each position counts for, from mass of that shape.

    `discount-all` is 1 − φ.  arXiv 2602.17664, §4.  `discount-transient` is 1 − φ·(1 − persistence),
    persistence being the share of its sample's timesteps at which the position is a sink: what never
    moves counts in full. With `keep` every position does. What is not present counts for nothing.
    """
    if use == "keep":
        return torch.ones_like(mass) if present is None else present.to(mass.dtype)
    soft = soft_sink(mass, sinks.threshold_std, sinks.sharpness, present)
    if use == "discount-transient":
        lasting = persistence(sink_set(mass, sinks.threshold_std, present), present)
        soft = soft * (1 - lasting)[..., None, :]
    return 1 - soft if present is None else (1 - soft).where(present, 0.0)


def persistence(sinks: Tensor, present: Tensor | None = None) -> Tensor:
    """Share of timesteps at which a position is a sink: (…, timesteps, positions) bool to
    (…, positions) float32; of those at which it is present, and 0 for one that never is."""
    if present is None:
        return sinks.float().mean(-2)
    return sinks.sum(-2) / present.sum(-2).clamp(min=1)
