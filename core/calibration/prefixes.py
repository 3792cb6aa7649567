"""A text as a model that writes from left to right meets it: one growing prefix after another."""

import torch
from torch import Tensor

from core.calibration.noise import Trajectories


def growing_prefixes(clean: Tensor, timesteps: tuple[int, ...], steps: int) -> Trajectories:
    """Prefixes of clean (samples, positions): with t of `steps` still to come, the share t / steps of
    the text is not there yet, and at least one position is. Draws nothing."""
    samples, positions = clean.shape
    lengths = torch.tensor([max(1, round(positions * (1 - t / steps))) for t in timesteps])
    present = (torch.arange(positions) < lengths[:, None]).expand(samples, -1, -1)
    rates = (1 - lengths / positions).expand(samples, -1)
    return Trajectories(
        clean=clean,
        noised=clean[:, None].expand(-1, len(timesteps), -1),
        masked=torch.zeros_like(present),
        rates=rates,
        weights=torch.ones_like(rates),
        timesteps=timesteps,
        present=present,
    )
