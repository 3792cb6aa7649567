"""What pruning does to sinks: the pruned model watched on the sequences that the dense one was."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from core.calibration.noise import Trajectories
from core.evaluation.in_depth import SINKS_SAMPLES
from core.evaluation.nelbo import Watch
from core.models.decoder import Decoder
from core.pruning.observe import observe
from core.sinks.statistics import SinkDynamics
from core.spec import Sinks


@dataclass(frozen=True, slots=True)
class SinksAfter:
    """Attention mass of the same sequences, each (samples, timesteps, blocks, positions)."""

    dense: Tensor
    pruned: Tensor
    present: Tensor | None = None
    """(samples, timesteps, positions) bool: positions that exist yet; None where all do."""


@dataclass(frozen=True, slots=True)
class SinkShift:
    """Sinks before and after, one number a sample; NaN where a sample does not define it."""

    dense_share: Tensor
    """Of the dense model's attention, what its sinks receive, averaged over timesteps."""
    pruned_share_there: Tensor
    """Of the pruned model's attention, what those same positions receive."""
    pruned_share: Tensor
    """Of the pruned model's attention, what its own sinks receive."""
    dense_temporal_variance: Tensor
    """Of the sinks' centroid, in positions²."""
    pruned_temporal_variance: Tensor
    jaccard: Tensor
    """|S ∩ S′| / |S ∪ S′| of both models' sinks, averaged over the timesteps at which either has one."""

    @classmethod
    def of(
        cls, dense: Tensor, pruned: Tensor, threshold_std: float, present: Tensor | None = None
    ) -> "SinkShift":
        """From mass (samples, timesteps, positions) of both, of one block or of all together."""
        before, after = (SinkDynamics.of(mass, threshold_std, present) for mass in (dense, pruned))
        return cls(
            dense_share=before.mass_share(),
            pruned_share_there=share_at(after.mass, before.sinks),
            pruned_share=after.mass_share(),
            dense_temporal_variance=before.temporal_variance(),
            pruned_temporal_variance=after.temporal_variance(),
            jaccard=overlap(before.sinks, after.sinks),
        )


def watch_pruned(
    decoder: Decoder, trajectories: Trajectories, sinks: Sinks, *, group: int, watch: Watch
) -> Tensor:
    """Mass (samples, timesteps, blocks, positions) of the model in `decoder` on the first samples."""
    some = first_samples(trajectories, SINKS_SAMPLES)
    return observe(decoder, some, sinks, held_for=None, group=group, watch=watch).kept


def first_samples(trajectories: Trajectories, samples: int) -> Trajectories:
    """The same timesteps of the first `samples` samples: whatever is a tensor has them first."""
    parts = {field.name: getattr(trajectories, field.name) for field in fields(trajectories)}
    cut: dict[str, Any] = {
        name: part[:samples] for name, part in parts.items() if isinstance(part, Tensor)
    }
    return replace(trajectories, **cut)


def share_at(mass: Tensor, positions: Tensor) -> Tensor:
    """Share of mass (samples, timesteps, positions) that lies where `positions` is true, averaged over
    timesteps: (samples,)."""
    return ((mass * positions).sum(-1) / mass.sum(-1)).mean(-1)


def overlap(some: Tensor, others: Tensor) -> Tensor:
    """Mean Jaccard index of two sets (samples, timesteps, positions) bool at each timestep, those left
    out at which both are empty: (samples,)."""
    union = (some | others).sum(-1).double()
    ratio = (some & others).sum(-1) / torch.where(union > 0, union, torch.nan)
    return ratio.nanmean(-1)
