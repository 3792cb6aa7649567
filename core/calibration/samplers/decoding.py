"""Writing from left to right, one token at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from core.calibration.continuation import Continuation
from core.calibration.samplers.predictions import blank, gumbel
from core.models.decoder import Decoder
from core.models.past import Past, going_on_from

NOT_YET = 0
"""Stands where nothing is written; no position before it sees it."""


@torch.inference_mode()
def steps(
    decoder: Decoder, prompts: Tensor, wanted: Continuation, rngs: Sequence[Generator]
) -> Iterator[Tensor]:
    """See `core.calibration.samplers`; a step writes as many tokens as one of LLaDA's does. Nothing
    ends a sequence early, an end token least of all: all have to be equally long."""
    assert wanted.counts is not None
    ids = blank(prompts, wanted.positions, NOT_YET)
    yield ids.clone()
    past, read, known = Past(), 0, wanted.prompt
    for count in wanted.counts:
        for _ in range(count):
            with going_on_from(past):
                features = decoder.features(ids[:, read:known])[:, -1]
            ids[:, known] = _next(decoder.head(features), wanted.options.temperature, rngs)
            read, known = known, known + 1
        yield ids.clone()


def _next(logits: Tensor, temperature: float, rngs: Sequence[Generator]) -> Tensor:
    """(samples,) int64 from logits (samples, vocabulary)."""
    logits = logits.double()
    if temperature:
        noise = gumbel(range(len(rngs)), logits.shape[1], rngs)
        logits = logits + temperature * noise.to(logits.device)
    return logits.argmax(-1).cpu()
