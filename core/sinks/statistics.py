"""How sinks vary: over positions within a timestep, and over timesteps.  arXiv 2602.17664, §3.

Each statistic is one number per trajectory, NaN where it is undefined (no sink at any timestep, say).
A trajectory is mass (timesteps, positions); axes before these may tell apart samples, blocks, heads.
Where positions come into being one after the other, only those count that are present.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from core.sinks.scores import sink_set

STATISTICS: Final = (
    "spatial_variance",
    "spatial_variance_relative",
    "temporal_variance",
    "temporal_variance_relative",
    "stable_share",
    "transient_share",
    "mass_share",
    "jaccard",
    "masked_share",
    "ends_share",
    "sinks_per_step",
    "value_norm_ratio",
)
"""In the order in which `SinkDynamics.all_statistics` has them."""

STABLE_ROUNDING: Final = 1e-9
"""A quotient of counts may fall an ulp short of a bound that it meets exactly."""


@dataclass(frozen=True, slots=True)
class SinkDynamics:
    """Sinks of some trajectories."""

    mass: Tensor
    """(…, timesteps, positions), unnormalised; 0 where a position is not present."""
    sinks: Tensor
    """(…, timesteps, positions) bool."""
    centroid: Tensor
    """(…, timesteps), in positions; NaN at a timestep without a sink."""
    present: Tensor | None = None
    """(timesteps, positions) bool, or with the same axes before; None where all are."""

    @classmethod
    def of(
        cls, mass: Tensor, threshold_std: float, present: Tensor | None = None
    ) -> "SinkDynamics":
        mass = mass.double()
        if present is not None:
            mass = mass.where(present, 0.0)
        sinks = sink_set(mass, threshold_std, present)
        return cls(mass, sinks, sink_centroid(mass, sinks), present)

    @property
    def persistence(self) -> Tensor:
        """(…, positions): share of the timesteps at which a position is a sink, of those at which it
        is present; 0 for one that never is."""
        count = self.mass.shape[-2] if self.present is None else self.present.sum(-2).clamp(min=1)
        return self.sinks.sum(-2).double() / count

    def spatial_variance(self) -> Tensor:
        """Var_i of m̄(i), m normalised to sum 1 and averaged over timesteps: (…,)."""
        return self.spatial_variance_relative() / self.mass.shape[-1] ** 2

    def spatial_variance_relative(self) -> Tensor:
        """Var_i of r̄(i), r being mass over that of the mean position, averaged over the timesteps at
        which i is present: comparable across sequence lengths, and over growing ones."""
        known = self._present()
        mean = self.mass.sum(-1, keepdim=True) / known.sum(-1, keepdim=True)
        relative = (self.mass / mean).where(known, 0.0)
        steps = known.sum(-2)
        return _variance(relative.sum(-2) / steps, steps > 0)

    def temporal_variance(self) -> Tensor:
        """Var_t of the centroid over the timesteps that have a sink: (…,), positions²."""
        return _variance(self.centroid, ~self.centroid.isnan())

    def temporal_variance_relative(self) -> Tensor:
        """Var_t of centroid / positions: comparable across sequence lengths."""
        return self.temporal_variance() / self.mass.shape[-1] ** 2

    def stable_share(self, stable_persistence: float) -> Tensor:
        """Of the positions that are ever a sink, the share whose persistence reaches the bound."""
        persistence = self.persistence
        ever = (persistence > 0).sum(-1)
        stable = (persistence >= stable_persistence - STABLE_ROUNDING).sum(-1)
        return stable / _nonzero(ever)

    def mass_share(self) -> Tensor:
        """Share of all attention that sinks receive, averaged over timesteps: (…,)."""
        return ((self.mass * self.sinks).sum(-1) / _nonzero(self.mass.sum(-1))).nanmean(-1)

    def jaccard(self) -> Tensor:
        """Mean over consecutive timesteps of |S ∩ S′| / |S ∪ S′|, pairs without any sink left out."""
        now, then = self.sinks[..., :-1, :], self.sinks[..., 1:, :]
        return ((now & then).sum(-1) / _nonzero((now | then).sum(-1))).nanmean(-1)

    def masked_share(self, masked: Tensor) -> Tensor:
        """Of all sinks, the share on corrupted positions; masked (…, timesteps, positions) bool."""
        return self._share_of_sinks(masked)

    def ends_share(self) -> Tensor:
        """Of all sinks, the share that are the first or the last position that is present."""
        passed = self._present().cumsum(-1)
        first, last = passed == 1, passed == passed[..., -1:]
        return self._share_of_sinks((first | last) & self._present())

    def value_norm_ratio(self, norms: Tensor) -> Tensor:
        """Mean ‖v_j‖ over the sinks of a timestep, over that of its other positions, averaged over
        the timesteps that have both; norms (…, timesteps, positions)."""
        norms, others = norms.double(), self._present() & ~self.sinks
        at_sinks = (norms * self.sinks).sum(-1) / _nonzero(self.sinks.sum(-1))
        elsewhere = (norms * others).sum(-1) / _nonzero(others.sum(-1))
        return (at_sinks / _nonzero(elsewhere)).nanmean(-1)

    def sinks_per_step(self) -> Tensor:
        return self.sinks.sum(-1).double().mean(-1)

    def timesteps_without_sink(self) -> int:
        return int((~self.sinks.any(-1)).sum())

    def all_statistics(self, masked: Tensor, norms: Tensor, stable_persistence: float) -> Tensor:
        """(…, len(STATISTICS)): every statistic, in that order."""
        stable, length = self.stable_share(stable_persistence), self.mass.shape[-1]
        spatial, temporal = self.spatial_variance_relative(), self.temporal_variance()
        found = {
            "spatial_variance": spatial / length**2,
            "spatial_variance_relative": spatial,
            "temporal_variance": temporal,
            "temporal_variance_relative": temporal / length**2,
            "stable_share": stable,
            "transient_share": 1 - stable,
            "mass_share": self.mass_share(),
            "jaccard": self.jaccard(),
            "masked_share": self.masked_share(masked),
            "ends_share": self.ends_share(),
            "sinks_per_step": self.sinks_per_step(),
            "value_norm_ratio": self.value_norm_ratio(norms),
        }
        return torch.stack([found[name] for name in STATISTICS], -1)

    def __getitem__(self, index: int) -> "SinkDynamics":
        """Of one along the first axis, where presence is the same along it."""
        return SinkDynamics(self.mass[index], self.sinks[index], self.centroid[index], self.present)

    def _present(self) -> Tensor:
        """(timesteps, positions) bool, or with the axes before."""
        if self.present is not None:
            return self.present
        return torch.ones(self.mass.shape[-2:], dtype=torch.bool, device=self.mass.device)

    def _share_of_sinks(self, some: Tensor) -> Tensor:
        """Of the sinks of all timesteps together, those among `some` positions: (…,)."""
        return (self.sinks & some).sum((-2, -1)) / _nonzero(self.sinks.sum((-2, -1)))


def sink_centroid(mass: Tensor, sinks: Tensor) -> Tensor:
    """c = Σ_S m(i)·i / Σ_S m(i), shapes (…, positions) twice → (…,); NaN where S is empty."""
    positions = torch.arange(mass.shape[-1], dtype=mass.dtype, device=mass.device)
    held = mass * sinks
    return (held * positions).sum(-1) / _nonzero(held.sum(-1))


def _nonzero(values: Tensor) -> Tensor:
    """As float64, with NaN for what must not be divided by."""
    return torch.where(values > 0, values.double(), math.nan)


def _variance(values: Tensor, known: Tensor) -> Tensor:
    """Var over the last axis of those that are `known`; NaN where none is. Both (…, n) → (…,)."""
    count = _nonzero(known.sum(-1, keepdim=True))
    mean = values.where(known, 0.0).sum(-1, keepdim=True) / count
    return (values - mean).where(known, 0.0).square().sum(-1) / count[..., 0]


def persistence_counts(dynamics: SinkDynamics) -> Tensor:
    """How many positions are a sink at k of K timesteps, for k = 1…K: (timesteps,) int64, of one
    trajectory. Where positions are not always present, k is their persistence times K, rounded up."""
    steps = dynamics.mass.shape[-2]
    times = (dynamics.persistence * steps - STABLE_ROUNDING).ceil().long().cpu()
    return torch.bincount(times.flatten(), minlength=steps + 1)[1:]


def summarise(values: Tensor) -> tuple[float | None, float | None]:
    """Mean and standard error over samples, NaN left out; None where too few samples remain."""
    kept = values[~values.isnan()].double()
    if len(kept) == 0:
        return None, None
    error = float(kept.std(correction=1)) / math.sqrt(len(kept)) if len(kept) > 1 else None
    return float(kept.mean()), error
