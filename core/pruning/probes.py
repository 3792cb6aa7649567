"""What allocation rules want to know of a dense model, block by block."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from core.models.decoder import Decoder, Matrix
from core.pruning.engine import apply, by_magnitude, by_row
from core.pruning.observe import Watch, Watched, measure_all_blocks, measure_block
from core.pruning.pattern_values import Share
from core.pruning.scores import wanda_score
from core.pruning.statistics import SquaredInput, Statistic
from core.pruning.workload import PROBE_SAMPLES

TINY = 1e-30
"""Keeps the logarithm of nothing finite."""


def everything(clean: Tensor) -> Watched:
    """Clean sequences (samples, positions) in which every position counts."""
    return Watched(clean, torch.ones(clean.shape))


@torch.inference_mode()
def outlier_shares(
    decoder: Decoder, clean: Tensor, threshold: float, *, group: int, watch: Watch
) -> list[float]:
    """Per block, the share of its weights whose Wanda score on clean inputs is above `threshold` times
    the block's mean score.  OWL, Yin et al. 2023 (arXiv 2310.05175), eq. 1."""
    found = measure_all_blocks(decoder, everything(clean), SquaredInput, group=group, watch=watch)
    return [
        _outlier_share(decoder.matrices(block), found, threshold)
        for block in range(len(decoder.blocks))
    ]


def _outlier_share(
    matrices: list[Matrix], found: Mapping[str, Statistic], threshold: float
) -> float:
    """Two passes over the scores, so that only one matrix's are held at a time."""
    entries = sum(m.linear.weight.numel() for m in matrices)
    mean = sum(float(_score(m, found).double().sum()) for m in matrices) / entries
    return sum(int((_score(m, found) > threshold * mean).sum()) for m in matrices) / entries


def _score(matrix: Matrix, found: Mapping[str, Statistic]) -> Tensor:
    return wanda_score(matrix.linear.weight, _norm(matrix, found.get(matrix.source)))


def _norm(matrix: Matrix, statistic: Statistic | None) -> Tensor:
    """As in pruning: what no token reached is scored by magnitude."""
    weight = matrix.linear.weight
    if isinstance(statistic, SquaredInput):
        return statistic.input_norm()
    return torch.ones(weight.shape[1], device=weight.device)


@torch.inference_mode()
def reconstruction_errors(
    decoder: Decoder, clean: Tensor, sparsity: float, *, magnitude: bool, group: int, watch: Watch
) -> list[float]:
    """Per block, log₁₀ of ‖f′(x) − f(x)‖² / ‖f(x) − x‖²: how far pruning this block alone moves what
    it adds to the residual stream. Dense inputs x; f′ is pruned by Wanda, or by magnitude."""
    hidden = [decoder.embed(ids) for ids in torch.split(clean[:PROBE_SAMPLES], group)]
    everywhere = [torch.ones(state.shape[:2]) for state in hidden]
    errors = []
    for block in range(len(decoder.blocks)):
        dense = list(hidden)
        found = measure_block(decoder, block, dense, everywhere, SquaredInput, advance=True)
        with _pruned(decoder.matrices(block), {} if magnitude else found, sparsity, magnitude):
            pruned = [decoder.run_block(block, state) for state in hidden]
        moved = _squared_distance(pruned, dense)
        added = _squared_distance(hidden, dense)
        errors.append(math.log10(max(moved, TINY) / max(added, TINY)))
        hidden = dense
        watch(block + 1, len(decoder.blocks))
    return errors


@contextmanager
def _pruned(
    matrices: list[Matrix], found: Mapping[str, Statistic], sparsity: float, magnitude: bool
) -> Iterator[None]:
    """The matrices without their least important weights, for as long as the block runs."""
    kept = [m.linear.weight.clone() for m in matrices]
    for matrix in matrices:
        norm = _norm(matrix, found.get(matrix.source))
        apply(
            matrix, by_magnitude if magnitude else partial(by_row, input_norm=norm), Share(sparsity)
        )
    try:
        yield
    finally:
        for matrix, weight in zip(matrices, kept, strict=True):
            matrix.linear.weight.copy_(weight)


def _squared_distance(some: list[Tensor], others: list[Tensor]) -> float:
    return sum(float((x - y).double().square().sum()) for x, y in zip(some, others, strict=True))
