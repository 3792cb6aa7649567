"""How sinks vary: over positions within a timestep, and over timesteps.  arXiv 2602.17664, §3.

Each statistic is one number per sample; `summarise` gives mean and standard error over samples.
A sample for which a statistic is undefined (no sink at any timestep, say) is NaN and left out.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.sinks.scores import sink_set


@dataclass(frozen=True, slots=True)
class SinkDynamics:
    """Sinks of some trajectories; every array's first axis is the sample."""

    mass: Tensor
    """(samples, timesteps, positions), unnormalised."""
    sinks: Tensor
    """(samples, timesteps, positions) bool."""
    centroid: Tensor
    """(samples, timesteps), in positions; NaN at a timestep without a sink."""

    @classmethod
    def of(
        cls, mass: Tensor, threshold_std: float, present: Tensor | None = None
    ) -> "SinkDynamics":
        mass = mass.double()
        sinks = sink_set(mass, threshold_std, present)
        return cls(mass, sinks, sink_centroid(mass, sinks))

    @property
    def persistence(self) -> Tensor:
        """(samples, positions): share of timesteps at which the position is a sink."""
        return self.sinks.double().mean(1)

    def spatial_variance(self) -> Tensor:
        """Var_i of m̄(i), m normalised to sum 1 and averaged over timesteps: (samples,)."""
        shares = self.mass / self.mass.sum(-1, keepdim=True)
        return shares.mean(1).var(-1, correction=0)

    def temporal_variance(self) -> Tensor:
        """Var_t of the centroid over the timesteps that have a sink: (samples,), positions²."""
        return torch.stack([_variance(row[~row.isnan()]) for row in self.centroid])

    def temporal_variance_relative(self) -> Tensor:
        """Var_t of centroid / positions: comparable across sequence lengths."""
        return self.temporal_variance() / self.mass.shape[-1] ** 2

    def stable_share(self, stable_persistence: float) -> Tensor:
        """Of the positions that are ever a sink, the share whose persistence reaches the bound."""
        ever = (self.persistence > 0).sum(-1)
        # An average of booleans may fall an ulp short of a bound that it meets exactly.
        stable = (self.persistence >= stable_persistence - 1e-9).sum(-1)
        return stable / torch.where(ever > 0, ever.double(), math.nan)

    def mass_share(self) -> Tensor:
        """Share of all attention that sinks receive, averaged over timesteps: (samples,)."""
        return ((self.mass * self.sinks).sum(-1) / self.mass.sum(-1)).mean(-1)

    def jaccard(self) -> Tensor:
        """Mean over consecutive timesteps of |S ∩ S′| / |S ∪ S′|, pairs without any sink left out."""
        now, then = self.sinks[:, :-1], self.sinks[:, 1:]
        union = (now | then).sum(-1).double()
        ratio = (now & then).sum(-1) / torch.where(union > 0, union, math.nan)
        return ratio.nanmean(-1)

    def masked_share(self, masked: Tensor) -> Tensor:
        """Of all sinks, the share on mask tokens; masked (samples, timesteps, positions) bool."""
        count = self.sinks.sum((1, 2)).double()
        on_mask = (self.sinks & masked).sum((1, 2))
        return on_mask / torch.where(count > 0, count, math.nan)

    def sinks_per_step(self) -> Tensor:
        return self.sinks.sum(-1).double().mean(-1)

    def timesteps_without_sink(self) -> int:
        return int((~self.sinks.any(-1)).sum())


def sink_centroid(mass: Tensor, sinks: Tensor) -> Tensor:
    """c = Σ_S m(i)·i / Σ_S m(i), shapes (…, positions) twice → (…,); NaN where S is empty."""
    positions = torch.arange(mass.shape[-1], dtype=mass.dtype)
    held = mass * sinks
    total = held.sum(-1)
    return (held * positions).sum(-1) / torch.where(total > 0, total, math.nan)


def _variance(values: Tensor) -> Tensor:
    return values.var(correction=0) if len(values) else torch.tensor(math.nan, dtype=values.dtype)


def summarise(values: Tensor) -> tuple[float | None, float | None]:
    """Mean and standard error over samples, NaN left out; None where too few samples remain."""
    kept = values[~values.isnan()].double()
    if len(kept) == 0:
        return None, None
    error = float(kept.std(correction=1)) / math.sqrt(len(kept)) if len(kept) > 1 else None
    return float(kept.mean()), error
