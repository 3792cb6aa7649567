"""Soft sinks: how much a position behaves like an attention sink."""

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
    return torch.sigmoid(sharpness * (mass - _threshold(mass, threshold_std, present)))


def sink_set(mass: Tensor, threshold_std: float, present: Tensor | None = None) -> Tensor:
    """S = {j : m(j) > mean m + κ·std m} as a boolean mask shaped like mass (…, positions), mean and
    deviation over the positions that are `present`."""
    found = mass > _threshold(mass, threshold_std, present)
    return found if present is None else found & present


def _threshold(mass: Tensor, threshold_std: float, present: Tensor | None) -> Tensor:
    if present is None:
        deviation = mass.std(-1, keepdim=True, correction=0)
        return mass.mean(-1, keepdim=True) + threshold_std * deviation
    count = present.sum(-1, keepdim=True)
    mean = (mass * present).sum(-1, keepdim=True) / count
    variance = ((mass - mean).square() * present).sum(-1, keepdim=True) / count
    return mean + threshold_std * variance.sqrt()


def discount(mass: Tensor, use: SinkUse, sinks: Sinks, present: Tensor | None = None) -> Tensor:
    """ω (samples, timesteps, positions): what each position counts for, from mass of that shape.

    `discount-all` is 1 − φ.  arXiv 2602.17664, §4.  `discount-transient` is 1 − φ·(1 − persistence),
    persistence being the share of its sample's timesteps at which the position is a sink: what never
    moves counts in full. With `keep` every position does. One that is not `present` counts for nothing.
    """
    kept = _kept(mass, use, sinks, present)
    return kept if present is None else kept * present


def _kept(mass: Tensor, use: SinkUse, sinks: Sinks, present: Tensor | None) -> Tensor:
    if use == "keep":
        return torch.ones_like(mass)
    soft = soft_sink(mass, sinks.threshold_std, sinks.sharpness, present)
    if use == "discount-transient":
        found = sink_set(mass, sinks.threshold_std, present)
        soft = soft * (1 - persistence(found, present))[:, None]
    return 1 - soft


def persistence(sinks: Tensor, present: Tensor | None = None) -> Tensor:
    """Share of timesteps at which a position is a sink, of those at which it is `present`:
    (samples, timesteps, positions) bool to (samples, positions)."""
    if present is None:
        return sinks.float().mean(1)
    return sinks.float().sum(1) / present.sum(1).clamp(min=1)
