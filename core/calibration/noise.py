"""The forward process: which tokens are masked at which timestep."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


def mask_rate(timestep: float, steps: int, eps: float) -> float:
    """p_t = (1 − ε)·t/T + ε.  LLaDA, arXiv 2502.09992, §2.1."""
    return (1 - eps) * timestep / steps + eps


def corrupt(ids: Tensor, rate: float, mask_id: int, rng: Generator) -> Tensor:
    """`ids` (positions,) with each position masked where a uniform draw is below `rate`."""
    drawn = torch.rand(1, len(ids), generator=rng)[0]
    return ids.masked_fill(drawn < rate, mask_id)


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Calibration sequences beside their noised versions.

    Everything lies on the host, clean as (samples, positions) int64, noised as (samples, timesteps,
    positions) int64; the timesteps of a sample are in order of growing noise.
    """

    clean: Tensor
    noised: Tensor
    masked: Tensor
    """(samples, timesteps, positions) bool: which positions were corrupted."""
    rates: Tensor
    """(samples, timesteps) float32: the probability with which each position was corrupted."""
    weights: Tensor
    """(samples, timesteps) float32: λ, what the timestep counts for in statistics."""
    timesteps: tuple[int, ...]
    """The t of each noised version, 0 for the clean sequence itself."""

    @classmethod
    def recorded(
        cls, clean: Tensor, noised: Tensor, timesteps: tuple[int, ...], mask_id: int
    ) -> "Trajectories":
        """A trajectory that was recorded elsewhere; its rates are the shares that are masked."""
        masked = noised == mask_id
        rates = masked.float().mean(-1)
        return cls(clean, noised, masked, rates, torch.ones_like(rates), timesteps)


def forward_noise(
    clean: Tensor, timesteps: tuple[int, ...], steps: int, eps: float, mask_id: int, seed: int
) -> Trajectories:
    """Noise every sample at every timestep; draws come sample by sample, then timestep by timestep,
    from one generator, so the first samples do not depend on how many follow."""
    rng = Generator().manual_seed(seed)
    noised = torch.stack(
        [
            torch.stack([corrupt(ids, mask_rate(t, steps, eps), mask_id, rng) for t in timesteps])
            for ids in clean
        ]
    )
    masked = noised == mask_id
    rates = torch.tensor([mask_rate(t, steps, eps) for t in timesteps]).expand(len(clean), -1)
    return Trajectories(clean, noised, masked, rates, torch.ones_like(rates), timesteps)
