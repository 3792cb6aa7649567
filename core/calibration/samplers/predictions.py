"""What a model predicts at masked positions, and which of its predictions are taken."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from core.models.decoder import Decoder

PIECE_ELEMENTS = 1 << 22
"""Logits held at once (32 MiB in float64): large vocabularies go through in pieces."""

Choose = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From logits (rows, vocabulary) float64 and noise of that shape, which is zero at temperature 0, to
tokens and confidences (rows,)."""


def blank(prompts: Tensor, positions: int, token: int) -> Tensor:
    """(samples, positions): the prompts, with `token` behind them."""
    ids = prompts.new_full((len(prompts), positions), token)
    ids[:, : prompts.shape[1]] = prompts
    return ids


def predict(
    decoder: Decoder,
    ids: Tensor,
    where: Tensor,
    choose: Choose,
    rngs: Sequence[Generator],
    *,
    noisy: bool,
    bare: Tensor | None = None,
    guidance: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Tokens int64 and confidences float64 at the positions `where`, (samples, positions) like ids and
    `where`; 0 and -inf elsewhere.

    The mask token is never predicted: a position that it uncovers would still be to be written.
    With `bare`, the same ids without their prompts, logits are u + (w + 1)·(l − u) with w = `guidance`:
    classifier-free guidance.  LLaDA, arXiv 2502.09992, appendix. With `noisy`, Gumbel noise is
    drawn from each sample's generator, position by position.
    """
    standing = where.roll(-1, dims=1) if decoder.family.shifted else where
    device = decoder.device
    features = [decoder.features(x)[standing.to(device)] for x in (ids, bare) if x is not None]
    owners = where.nonzero()[:, 0].tolist()
    tokens, confidence = torch.zeros_like(ids), torch.full(ids.shape, -torch.inf).double()
    found = []
    for part in _pieces(len(owners), decoder.dimensions.vocabulary):
        logits, *unguided = (decoder.head(x[part]).double() for x in features)
        for other in unguided:
            logits = other + (guidance + 1) * (logits - other)
        if decoder.dimensions.mask_token is not None:
            logits[:, decoder.dimensions.mask_token] = -torch.inf
        noise = gumbel(owners[part], logits.shape[1], rngs) if noisy else torch.zeros(1).double()
        found.append(choose(logits, noise.to(device)))
    if found:
        tokens[where] = torch.cat([chosen for chosen, _ in found]).cpu()
        confidence[where] = torch.cat([sure for _, sure in found]).cpu()
    return tokens, confidence


def _pieces(rows: int, vocabulary: int) -> Iterator[slice]:
    height = max(1, PIECE_ELEMENTS // vocabulary)
    for begin in range(0, rows, height):
        yield slice(begin, begin + height)


def gumbel(owners: Sequence[int], width: int, rngs: Sequence[Generator]) -> Tensor:
    """−log(−log u), (rows, width) float64, each row from its owner's generator: the largest of logits
    with such noise is a sample of their softmax. In float64, since in float32 the tail is cut off
    (arXiv 2409.02908)."""
    rows = [torch.rand(width, generator=rngs[owner], dtype=torch.float64) for owner in owners]
    return -(-torch.stack(rows).log()).log()


def most_confident(confidence: Tensor, count: int) -> Tensor:
    """(samples, positions) bool: the `count` positions of each sample with the highest confidence, of
    equal ones the first."""
    order = confidence.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(confidence, dtype=torch.bool).scatter_(1, order, value=True)
