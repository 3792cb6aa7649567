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

    clean (samples, positions), noised (samples, timesteps, positions), both int64 on the host;
    timesteps holds the t of each noised version.
    """

    clean: Tensor
    noised: Tensor
    timesteps: tuple[int, ...]
    mask_id: int

    @property
    def masked(self) -> Tensor:
        """(samples, timesteps, positions) bool: where the mask token stands."""
        return self.noised == self.mask_id


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
    return Trajectories(clean, noised, timesteps, mask_id)
