"""Dream's sampler: every step uncovers a share of the masks, chosen by chance or by how sure the
model is of them.  arXiv 2508.15487."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from core.calibration.continuation import Continuation, dream_shares
from core.calibration.samplers.predictions import blank, gumbel, most_confident, predict
from core.calibration_spec import Algorithm, Generation
from core.models.decoder import Decoder

TINY = 1e-10
"""Keeps the logarithm of a token that is no candidate finite."""


@torch.inference_mode()
def steps(
    decoder: Decoder, prompts: Tensor, wanted: Continuation, rngs: Sequence[Generator]
) -> Iterator[Tensor]:
    """See `core.calibration.samplers`."""
    mask = decoder.dimensions.mask_token
    assert mask is not None
    options, counts = wanted.options, wanted.counts
    ids = blank(prompts, wanted.positions, mask)
    hidden = torch.ones_like(ids, dtype=torch.bool)
    hidden[:, : wanted.prompt] = False
    yield ids.clone()
    pick = partial(choose, options=options)
    for step, share in enumerate(dream_shares(wanted.steps, wanted.eps)):
        where = hidden if counts is not None else hidden & _by_chance(hidden, share, rngs)
        tokens, confidence = predict(decoder, ids, where, pick, rngs, noisy=options.temperature > 0)
        kept = where
        if counts is not None:
            kept = most_confident(_tempered(confidence, options, rngs), counts[step])
        ids[kept] = tokens[kept]
        hidden = hidden & ~kept
        yield ids.clone()


def _by_chance(hidden: Tensor, share: float, rngs: Sequence[Generator]) -> Tensor:
    """Every position with the probability `share`, (samples, positions) bool."""
    width = hidden.shape[1]
    drawn = [torch.rand(width, generator=rng, dtype=torch.float64) for rng in rngs]
    return torch.stack(drawn) < share


def _tempered(confidence: Tensor, options: Generation, rngs: Sequence[Generator]) -> Tensor:
    """With a temperature of the algorithm, noise under which the highest are a sample without
    replacement from the softmax of confidence / temperature."""
    heat = options.algorithm_temperature
    if not heat:
        return confidence
    noise = gumbel(range(len(rngs)), confidence.shape[1], rngs)
    return confidence / heat + noise


def choose(logits: Tensor, noise: Tensor, *, options: Generation) -> tuple[Tensor, Tensor]:
    """A token of those that remain candidates, and how sure the algorithm is of it."""
    heat = options.temperature
    if heat:
        logits = logits / heat
    logits = candidates(logits, options.top_p, options.top_k)
    tokens = (logits + noise if heat else logits).argmax(-1)
    shares = logits.softmax(-1)
    return tokens, CONFIDENCE[options.algorithm](shares, tokens)


def candidates(logits: Tensor, top_p: float | None, top_k: int | None) -> Tensor:
    """Logits (rows, vocabulary) with -inf for tokens that are none: those behind the likeliest that
    together reach `top_p`, and those below the `top_k`-th of the rest."""
    if top_p is not None:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        shares = ordered.softmax(-1)
        before = shares.cumsum(-1) - shares
        surplus = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(surplus, -torch.inf)
    if top_k is not None:
        lowest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    return logits


def _of_choice(shares: Tensor, tokens: Tensor) -> Tensor:
    return shares.gather(-1, tokens[:, None])[:, 0]


def _margin(shares: Tensor, tokens: Tensor) -> Tensor:  # noqa: ARG001 - as the others
    first, second = shares.topk(2).values.unbind(-1)
    return first - second


def _negative_entropy(shares: Tensor, tokens: Tensor) -> Tensor:  # noqa: ARG001 - as the others
    return (shares * (shares + TINY).log()).sum(-1)


CONFIDENCE: Mapping[Algorithm, Callable[[Tensor, Tensor], Tensor]] = {
    "origin": _of_choice,  # which nobody reads: chance has chosen
    "maskgit-plus": _of_choice,
    "topk-margin": _margin,
    "entropy": _negative_entropy,
}
"""From the candidates' probabilities (rows, vocabulary) and the chosen tokens to (rows,)."""
