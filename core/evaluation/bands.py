"""The loss by timestep: how dense and pruned compare where little is noised, and where nearly all is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from core.evaluation.draws import BANDS
from core.evaluation.nelbo import NoisyTokens, quarter_of


def edges() -> Iterator[tuple[float, float]]:
    """Lower and upper end of each band, as shares of the noise levels or of the text."""
    return ((band / BANDS, (band + 1) / BANDS) for band in range(BANDS))


def by_band(noisy: NoisyTokens, losses: Tensor, quarters: Tensor) -> Tensor:
    """Loss (samples, bands) float64 in nats per token, from a `Judgement`'s losses and quarters.

    Of noised sequences: the mean over the draws in each of equal parts of the noise levels. Draws are
    stratified, so a sample has equally many in each. Of sequences that are not noised: the mean over
    the predicted positions in each quarter of the text; NaN where a quarter has none.
    """
    if noisy.noised:
        return losses.view(len(losses), BANDS, -1).mean(-1)
    return quarters[:, 0] / _predicted(noisy)


def sizes(noisy: NoisyTokens) -> list[int]:
    """How many values each band's loss is the mean of, over all samples: draws, or predicted positions.

    Weighted with them, bands average to the whole loss.
    """
    if noisy.noised:
        return [noisy.rate.numel() // BANDS] * BANDS
    return [len(noisy.clean) * int(count) for count in _predicted(noisy)]


def _predicted(noisy: NoisyTokens) -> Tensor:
    """Predicted positions of one sample in each quarter of the text, (bands,); the same in all."""
    where = noisy.masked[0, 0]
    return torch.bincount(quarter_of(where.nonzero()[:, 0], len(where)), minlength=BANDS)
