"""NELBO per token of a masked diffusion model, with noise that dense and pruned share."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from core.models.decoder import Decoder

DRAWS = 8
"""Stratified timesteps per sample: fewer leave the bound noisier than what pruning changes."""

HEAD_ELEMENTS = 1 << 24
"""Logits held at once (64 MiB in float32): large vocabularies go through in pieces."""

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class NoisyTokens:
    """Sequences with their masks: the same for every model that is compared.

    clean (samples, positions) int64; masked (samples, draws, positions) bool; rate (samples, draws).
    """

    clean: Tensor
    masked: Tensor
    rate: Tensor


def draw_masks(clean: Tensor, eps: float, seed: int, draws: int = DRAWS) -> NoisyTokens:
    """Masks at `draws` timesteps a sample, one uniform in each of as many equal strata of (0, 1)."""
    samples, positions = clean.shape
    rng = Generator().manual_seed(seed)
    strata = (torch.arange(draws) + torch.rand(samples, draws, generator=rng)) / draws
    rate = eps + (1 - eps) * strata
    masked = torch.rand(samples, draws, positions, generator=rng) < rate[..., None]
    return NoisyTokens(clean, masked, rate)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One model's answers to some `NoisyTokens`."""

    nelbo: Tensor
    """(samples,) float64, nats per token."""
    choices: Tensor
    """(masked positions of all samples,) int32: the most likely token at each, in order."""


@torch.inference_mode()
def judge(decoder: Decoder, noisy: NoisyTokens, *, group: int, watch: Watch) -> Judgement:
    """(1/S) Σ_masked CE/p, averaged over each sample's draws.  LLaDA, arXiv 2502.09992, eq. 4."""
    samples, draws, positions = noisy.masked.shape
    loss = torch.zeros(samples * draws, dtype=torch.float64)
    choices = []
    sequences = noisy.clean.repeat_interleave(draws, dim=0)
    masked = noisy.masked.flatten(0, 1)
    assert decoder.dimensions.mask_token is not None
    for begin in range(0, len(sequences), group):
        part = slice(begin, begin + group)
        where = masked[part]
        ids = sequences[part].masked_fill(where, decoder.dimensions.mask_token)
        entropy, chosen = _answers(decoder, ids, where, sequences[part])
        row = where.nonzero()[:, 0]
        loss[part].index_add_(0, row, entropy.double())
        choices.append(chosen)
        watch(min(begin + group, len(sequences)), len(sequences))
    per_draw = loss.view(samples, draws) / noisy.rate.double() / positions
    return Judgement(per_draw.mean(1), torch.cat(choices))


def _answers(decoder: Decoder, ids: Tensor, where: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and most likely token at the masked positions, on the host."""
    features = decoder.features(ids)[where.to(decoder.device)]
    targets = truth[where].to(decoder.device)
    rows = max(1, HEAD_ELEMENTS // decoder.dimensions.vocabulary)
    entropy, chosen = [], []
    for piece, target in _pieces(features, targets, rows):
        logits = decoder.head(piece).float()
        entropy.append(nn.functional.cross_entropy(logits, target, reduction="none").cpu())
        chosen.append(logits.argmax(-1).int().cpu())
    return torch.cat(entropy), torch.cat(chosen)


def _pieces(features: Tensor, targets: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    # Even an input without any masked position goes through once, so that shapes stay right.
    return zip(torch.split(features, rows), torch.split(targets, rows), strict=True)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over samples and its standard error."""

    mean: float
    stderr: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        spread = float(values.double().std(correction=1))
        return cls(float(values.double().mean()), spread / math.sqrt(len(values)))


def agreement(noisy: NoisyTokens, one: Judgement, other: Judgement) -> Estimate:
    """Per sample, the share of masked positions at which two models name the same token."""
    same = (one.choices == other.choices).double()
    sample = noisy.masked.flatten(0, 1).nonzero()[:, 0] // noisy.masked.shape[1]
    count = torch.bincount(sample, minlength=len(noisy.clean)).double()
    hits = torch.zeros(len(noisy.clean), dtype=torch.float64).index_add_(0, sample, same)
    return Estimate.of((hits / count)[count > 0])
