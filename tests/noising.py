"""LLaDA's forward process as published, without any option."""

from torch import Tensor

from core.calibration.noise import Noise, Trajectories, draw


def forward_noise(
    clean: Tensor, timesteps: tuple[int, ...], steps: int, eps: float, mask_id: int, seed: int
) -> Trajectories:
    return draw(clean, Noise("llada", timesteps, steps, eps, mask_token=mask_id), seed)
