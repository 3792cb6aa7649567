"""Trajectories that a model writes itself: the states of its own generation, recorded as they are met."""

from collections.abc import Callable

import torch
from torch import Tensor

from core.calibration.continuation import Continuation
from core.calibration.noise import Trajectories
from core.calibration.recorded import weighted
from core.calibration.samplers import SAMPLERS, generators
from core.calibration.samplers.predictions import blank
from core.calibration_spec import Calibration
from core.errors import InvalidSpec
from core.models.decoder import Decoder

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all), over all groups of sequences."""


def to_write(
    rows: Tensor, wanted: Continuation, calibration: Calibration, token: int
) -> Trajectories:
    """What is known before anything is written, in the shapes of what will be: prompts from rows
    (samples, positions) with `token` behind them at every timestep; the rows themselves as `clean`."""
    timesteps = calibration.timesteps
    begun = blank(rows[:, : wanted.prompt], wanted.positions, token)
    states = begun[:, None].expand(-1, len(timesteps), -1)
    found = Trajectories.recorded(rows, states, timesteps, token, _lengths(rows, wanted, timesteps))
    return found.weighted("uniform")


def write(
    decoder: Decoder,
    rows: Tensor,
    wanted: Continuation,
    calibration: Calibration,
    *,
    group: int,
    watch: Watch,
) -> Trajectories:
    """What `decoder`, loaded with its head, makes of the beginnings of rows (samples, positions).

    A timestep is the number of steps that are left, so the first is the latest state. The finished
    sequences are the trajectory's clean ones. `group` sequences go at a time, which shows in nothing.

    Raises:
        InvalidSpec: a state has no masks left, and is to be weighed by their share.
    """
    samples, timesteps = len(rows), calibration.timesteps
    at = {left: index for index, left in enumerate(timesteps)}
    states = rows.new_empty(samples, len(timesteps), wanted.positions)
    final = torch.empty_like(rows)
    done, of = 0, -(-samples // group) * wanted.steps
    for begin in range(0, samples, group):
        part = range(begin, min(begin + group, samples))
        prompts, rngs = (
            rows[part.start : part.stop, : wanted.prompt],
            generators(calibration.seed, part),
        )
        for step, state in enumerate(SAMPLERS[wanted.sampler](decoder, prompts, wanted, rngs)):
            final[part.start : part.stop] = state
            if (left := wanted.steps - step) in at:
                states[part.start : part.stop, at[left]] = state
            if step:
                done += 1
                watch(done, of)
    return _recorded(final, states, wanted, calibration, decoder.dimensions.mask_token)


def _recorded(
    final: Tensor,
    states: Tensor,
    wanted: Continuation,
    calibration: Calibration,
    mask_token: int | None,
) -> Trajectories:
    timesteps = calibration.timesteps
    if wanted.sampler == "decoding":
        # What comes later is seen by nothing before it, so one sequence stands for all its prefixes.
        states = final[:, None].expand(-1, len(timesteps), -1).contiguous()
    lengths = _lengths(final, wanted, timesteps)
    found = Trajectories.recorded(final, states, timesteps, mask_token, lengths)
    if calibration.timestep_weights == "inverse-rate" and not bool(found.rates.all()):
        raise InvalidSpec(
            "calibration.timestep_weights: a sample was finished before its last step, and inverse-rate"
            " cannot weigh a state without masks.",
            remedy="Lower calibration.diffusion_steps, or give the weights as a list.",
        )
    return weighted(found, calibration)


def _lengths(rows: Tensor, wanted: Continuation, timesteps: tuple[int, ...]) -> Tensor:
    """(samples, timesteps) int64: positions that exist at each timestep."""
    reach = torch.tensor([wanted.reach(left) for left in timesteps], dtype=torch.int64)
    return reach.expand(len(rows), -1)
