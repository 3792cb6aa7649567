"""One forward per (sample, timestep): attention mass and discounted input norms together.

A position's discount is known only when every block has run, and the norms need it. So the inputs
of a group's matrices are held until then, where the budget allows; else the group runs again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from core.calibration.noise import Trajectories
from core.models import attention
from core.models.decoder import Decoder, Matrix
from core.pruning.statistics import DiscountedNorms
from core.sinks.scores import soft_sink
from core.spec import Sinks

Watch = Callable[[int, int], None]
"""Called with (sequences done, sequences in all)."""


@dataclass
class Observation:
    """What watching the dense model on its trajectories yields."""

    mass: Tensor
    """(samples, timesteps, blocks, positions) float32 on the host, summed over heads and queries."""
    norms: dict[str, DiscountedNorms] = field(default_factory=dict)
    """By checkpoint tensor name; empty unless asked for."""
    forwards: int = 0


def input_owners(matrices: list[Matrix]) -> dict[str, list[Matrix]]:
    """Matrices grouped by the input they share, under its name."""
    groups: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.source, []).append(matrix)
    return groups


@contextmanager
def watching_inputs(
    matrices: list[Matrix], observe: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call `observe(name, input)` before each watched matrix multiplies; shared inputs once."""

    def pre_hook(name: str, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        observe(name, arguments[0])

    with ExitStack() as hooks:
        for name, sharers in input_owners(matrices).items():
            handle = sharers[0].linear.register_forward_pre_hook(partial(pre_hook, name))
            hooks.callback(handle.remove)
        yield


@torch.inference_mode()
def observe(
    decoder: Decoder,
    trajectories: Trajectories,
    sinks: Sinks,
    *,
    with_norms: bool,
    hold_inputs: bool,
    group: int,
    watch: Watch,
) -> Observation:
    """Run the dense model over every (sample, timestep), `group` sequences at a time.

    With `with_norms`, also a_f = Σ_n Σ_t ‖(1 − φ_{n,t}) ⊙ X^{(n,t)}_{·f}‖₂ of every matrix input.
    """
    samples, timesteps, positions = trajectories.noised.shape
    sequences = trajectories.noised.flatten(0, 1)
    blocks = len(decoder.blocks)
    found = Observation(torch.empty(len(sequences), blocks, positions))
    totals: dict[str, DiscountedNorms] = {}
    for begin in range(0, len(sequences), group):
        ids = sequences[begin : begin + group]
        mass, held = _run_group(decoder, ids, hold=with_norms and hold_inputs)
        found.forwards += len(ids)
        found.mass[begin : begin + len(ids)] = mass.cpu()
        if with_norms:
            weight = 1 - soft_sink(mass.sum(1), sinks.threshold_std, sinks.sharpness)
            if hold_inputs:
                for name, inputs in held.items():
                    _add(totals, name, DiscountedNorms.of(inputs, weight))
            else:
                _second_pass(decoder, ids, weight, totals)
                found.forwards += len(ids)
        watch(min(begin + group, len(sequences)), len(sequences))
    found.mass = found.mass.view(samples, timesteps, blocks, positions)
    for watched, sharers in input_owners_of(decoder).items():
        if watched in totals:
            found.norms |= {m.name: totals[watched] for m in sharers}
    return found


def input_owners_of(decoder: Decoder) -> dict[str, list[Matrix]]:
    owners: dict[str, list[Matrix]] = {}
    for block in range(len(decoder.blocks)):
        owners |= input_owners(decoder.matrices(block))
    return owners


def _run_group(decoder: Decoder, ids: Tensor, *, hold: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Mass (sequences, blocks, positions) on the device, and the held inputs by watched name."""
    mass = torch.empty(len(ids), len(decoder.blocks), ids.shape[1], device=decoder.device)
    held: dict[str, Tensor] = {}

    def keep_mass(block: int, received: Tensor) -> None:
        mass[:, block] = received

    with ExitStack() as watches:
        watches.enter_context(attention.watching(keep_mass))
        if hold:
            for block in range(len(decoder.blocks)):
                watches.enter_context(watching_inputs(decoder.matrices(block), held.__setitem__))
        decoder.run_blocks(ids)
    return mass, held


def _second_pass(
    decoder: Decoder, ids: Tensor, weight: Tensor, totals: dict[str, DiscountedNorms]
) -> None:
    def add(name: str, inputs: Tensor) -> None:
        _add(totals, name, DiscountedNorms.of(inputs, weight))

    with ExitStack() as watches:
        for block in range(len(decoder.blocks)):
            watches.enter_context(watching_inputs(decoder.matrices(block), add))
        decoder.run_blocks(ids)


def _add(totals: dict[str, DiscountedNorms], name: str, part: DiscountedNorms) -> None:
    totals[name] = totals[name].merge(part) if name in totals else part
