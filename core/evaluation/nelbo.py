"""Loss per token, with noise that dense and pruned share: the NELBO of a diffusion model, the exact
negative log-likelihood of an autoregressive one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from core.evaluation.draws import BANDS, DRAWS
from core.models import attention
from core.models.decoder import Decoder
from core.models.families import Family

HEAD_ELEMENTS = 1 << 24
"""Logits held at once (64 MiB in float32): large vocabularies go through in pieces."""

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class NoisyTokens:
    """Sequences with what is to be predicted in them: the same for every model that is compared.

    clean (samples, positions) int64; masked (samples, draws, positions) bool: what is predicted;
    rate (samples, draws): how likely a position that could be masked was.
    """

    clean: Tensor
    masked: Tensor
    rate: Tensor
    maskable: Tensor
    """(samples, draws) int64: positions that could be masked, over which the loss is averaged."""
    noised: bool = True
    """False where every position is predicted from those before it, all of which are shown."""

    def shown(self, mask_token: int | None) -> Tensor:
        """What a model sees: (samples, draws, positions) int64."""
        ids = self.clean[:, None].expand_as(self.masked)
        return ids if mask_token is None else ids.masked_fill(self.masked, mask_token)

    def copies(self) -> "NoisyTokens":
        """Each draw as a sample of its own, sample-major."""
        return NoisyTokens(
            self.clean.repeat_interleave(self.masked.shape[1], dim=0),
            self.masked.flatten(0, 1)[:, None],
            self.rate.flatten()[:, None],
            self.maskable.flatten()[:, None],
            self.noised,
        )

    def only(self, samples: Tensor) -> "NoisyTokens":
        """Those samples, by a mask or by their numbers."""
        return NoisyTokens(
            self.clean[samples],
            self.masked[samples],
            self.rate[samples],
            self.maskable[samples],
            self.noised,
        )


def draw(clean: Tensor, family: Family, eps: float, seed: int) -> NoisyTokens:
    """What models of `family` are to predict in clean (samples, positions).

    Where the logits at i − 1 predict i, nothing predicts the first position.
    """
    first = 1 if family.shifted else 0
    if family.attention == "causal":
        return next_tokens(clean)
    if family.attention == "block-causal":
        assert family.block_size is not None
        return draw_masks_in_blocks(clean, family.block_size, eps, seed, first=first)
    return draw_masks(clean, eps, seed, first=first)


def next_tokens(clean: Tensor) -> NoisyTokens:
    """Every position after the first, predicted from those before it: one draw, without chance."""
    samples, positions = clean.shape
    masked = (torch.arange(positions) >= 1).expand(samples, 1, -1)
    return NoisyTokens(clean, masked, torch.ones(samples, 1), masked.sum(-1), noised=False)


def draw_masks(
    clean: Tensor, eps: float, seed: int, draws: int = DRAWS, first: int = 0
) -> NoisyTokens:
    """Masks at `draws` timesteps a sample, one uniform in each of as many equal strata of (0, 1)."""
    samples, positions = clean.shape
    rng = Generator().manual_seed(seed)
    rate = _rates(samples, draws, eps, rng)
    masked = torch.rand(samples, draws, positions, generator=rng) < rate[..., None]
    masked[..., :first] = False
    return NoisyTokens(clean, masked, rate, torch.full((samples, draws), positions - first))


def draw_masks_in_blocks(
    clean: Tensor, size: int, eps: float, seed: int, draws: int = DRAWS, first: int = 0
) -> NoisyTokens:
    """As `draw_masks`, but each draw masks within one block of `size` positions only: the bound of
    a block diffusion model has the blocks before it clean.  Arriola et al. 2025, arXiv 2503.09573.

    The block is that of a uniform position, one in each of as many strata as there are draws, so a
    block counts as often as it is long.
    """
    samples, positions = clean.shape
    rng = Generator().manual_seed(seed)
    rate = _rates(samples, draws, eps, rng)
    drawn = torch.rand(samples, draws, positions, generator=rng) < rate[..., None]
    # Strata of positions are shuffled, so that early blocks do not always get the low rates.
    strata = torch.rand(samples, draws, generator=rng).argsort(-1)
    share = (strata + torch.rand(samples, draws, generator=rng)) / draws
    chosen = (first + share * (positions - first)).long().clamp(max=positions - 1)
    where = torch.arange(positions)
    inside = (where // size == chosen[..., None] // size) & (where >= first)
    return NoisyTokens(clean, drawn & inside, rate, inside.sum(-1))


def _rates(samples: int, draws: int, eps: float, rng: Generator) -> Tensor:
    strata = (torch.arange(draws) + torch.rand(samples, draws, generator=rng)) / draws
    return eps + (1 - eps) * strata


@dataclass(frozen=True, slots=True)
class Judgement:
    """One model's answers to some `NoisyTokens`."""

    nelbo: Tensor
    """(samples,) float64, nats per token: a bound, or exact for autoregressive families."""
    choices: Tensor
    """(predicted positions of all samples,) int32: the most likely token at each, in order."""
    losses: Tensor
    """(samples, draws) float64: what `nelbo` is the mean of."""
    quarters: Tensor
    """(samples, draws, BANDS) float64: cross-entropy summed over each quarter of the text."""


def quarter_of(position: Tensor, positions: int) -> Tensor:
    """Which of BANDS equal parts of so many positions each lies in."""
    return position * BANDS // positions


@torch.inference_mode()
def judge(
    decoder: Decoder,
    noisy: NoisyTokens,
    *,
    group: int,
    watch: Watch,
    hidden: Tensor | None = None,
) -> Judgement:
    """(1/S) Σ_masked CE/p, averaged over each sample's draws.  LLaDA, arXiv 2502.09992, eq. 4.

    S counts the positions that could be masked. Autoregressive families predict every one of them
    at p = 1 and see what comes before: then it is their negative log-likelihood.

    Args:
        hidden: (samples × draws, positions) bool, keys that attention does not see.
    """
    samples, draws, positions = noisy.masked.shape
    loss = torch.zeros(samples * draws, dtype=torch.float64)
    quarters = torch.zeros(samples * draws * BANDS, dtype=torch.float64)
    choices = []
    sequences = noisy.clean.repeat_interleave(draws, dim=0)
    masked = noisy.masked.flatten(0, 1)
    mask_token = decoder.dimensions.mask_token
    for begin in range(0, len(sequences), group):
        part = slice(begin, begin + group)
        ids, where = sequences[part], masked[part]
        shown = ids if mask_token is None else ids.masked_fill(where, mask_token)
        unseen = None if hidden is None else hidden[part].to(decoder.device)
        with attention.hiding(unseen):
            entropy, chosen = _answers(decoder, shown, where, ids)
        row, position = where.nonzero().unbind(1)
        loss[part].index_add_(0, row, entropy.double())
        quarter = (begin + row) * BANDS + quarter_of(position, positions)
        quarters.index_add_(0, quarter, entropy.double())
        choices.append(chosen)
        watch(min(begin + group, len(sequences)), len(sequences))
    per_draw = loss.view(samples, draws) / noisy.rate.double() / noisy.maskable
    return Judgement(
        nelbo=per_draw.mean(1),
        choices=torch.cat(choices),
        losses=per_draw,
        quarters=quarters.view(samples, draws, BANDS),
    )


def _answers(decoder: Decoder, ids: Tensor, where: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and most likely token at the predicted positions, on the host."""
    standing = where.roll(-1, dims=1) if decoder.family.shifted else where
    features = decoder.features(ids)[standing.to(decoder.device)]
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
    """Per sample, the share of predicted positions at which two models name the same token."""
    same = (one.choices == other.choices).double()
    sample = noisy.masked.flatten(0, 1).nonzero()[:, 0] // noisy.masked.shape[1]
    count = torch.bincount(sample, minlength=len(noisy.clean)).double()
    hits = torch.zeros(len(noisy.clean), dtype=torch.float64).index_add_(0, sample, same)
    return Estimate.of((hits / count)[count > 0])
