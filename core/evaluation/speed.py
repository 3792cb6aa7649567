"""Seconds of one forward, dense and pruned in turn, so that a drifting machine favours neither."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from core.models.decoder import Decoder

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over `runs` forwards each."""

    dense_seconds: float
    pruned_seconds: float
    runs: int


@torch.inference_mode()
def compare(
    decoder: Decoder,
    use_dense: Callable[[], None],
    use_pruned: Callable[[], None],
    ids: Tensor,
    clock: Clock,
    rounds: int = 5,
) -> Timing:
    """Time forwards of `ids` (batch, positions) with either weights; leaves the pruned ones in place."""
    seconds: dict[str, list[float]] = {"dense": [], "pruned": []}
    for _ in range(rounds):
        for name, use in (("dense", use_dense), ("pruned", use_pruned)):
            use()
            seconds[name].append(forward_seconds(decoder, ids, clock))
    return Timing(median(seconds["dense"]), median(seconds["pruned"]), rounds)


def forward_seconds(decoder: Decoder, ids: Tensor, clock: Clock) -> float:
    """One forward of `ids` (batch, positions), after another that warms the caches."""
    _forward(decoder, ids)
    began = clock()
    _forward(decoder, ids)
    return clock() - began


def _forward(decoder: Decoder, ids: Tensor) -> None:
    features = decoder.features(ids)
    if decoder.has_head:
        decoder.head(features)
    if decoder.device.type == "cuda":
        torch.cuda.synchronize(decoder.device)
