"""LLaDA's sampler: every step predicts all masks of the present block, and keeps some of what it
predicts.  arXiv 2502.09992, §2.4 and appendix."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from core.calibration.continuation import Continuation, shared_out
from core.calibration.samplers.predictions import blank, most_confident, predict
from core.models.decoder import Decoder


@torch.inference_mode()
def steps(
    decoder: Decoder, prompts: Tensor, wanted: Continuation, rngs: Sequence[Generator]
) -> Iterator[Tensor]:
    """See `core.calibration.samplers`. Blocks that are not begun stay masked, and are not looked at by
    a model that never looks ahead."""
    mask = decoder.dimensions.mask_token
    assert mask is not None
    ids = blank(prompts, wanted.positions, mask)
    hidden = torch.ones_like(ids, dtype=torch.bool)
    hidden[:, : wanted.prompt] = False
    yield ids.clone()
    for begin, end in wanted.spans:
        seen = end if wanted.later_unseen else wanted.positions
        for count in shared_out(end - begin, wanted.steps // len(wanted.spans)):
            where = hidden[:, :seen].clone()
            where[:, end:] = False
            tokens, confidence = _predictions(decoder, ids[:, :seen], where, wanted, rngs)
            kept = most_confident(confidence, count)
            ids[:, :seen][kept] = tokens[kept]
            hidden[:, :seen][kept] = False
            yield ids.clone()


def _predictions(
    decoder: Decoder, ids: Tensor, where: Tensor, wanted: Continuation, rngs: Sequence[Generator]
) -> tuple[Tensor, Tensor]:
    options, bare = wanted.options, None
    if options.guidance:
        assert decoder.dimensions.mask_token is not None
        bare = ids.clone()
        bare[:, : wanted.prompt] = decoder.dimensions.mask_token
    tokens, confidence = predict(
        decoder,
        ids,
        where,
        partial(choose, temperature=options.temperature),
        rngs,
        noisy=options.temperature > 0,
        bare=bare,
        guidance=options.guidance,
    )
    if options.remasking == "random":
        drawn = [torch.rand(where.shape[1], generator=rng, dtype=torch.float64) for rng in rngs]
        confidence = torch.stack(drawn).masked_fill(~where, -torch.inf)
    return tokens, confidence


def choose(logits: Tensor, noise: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """The largest of logits + temperature·noise, and its probability by the logits alone."""
    tokens = (logits + temperature * noise).argmax(-1)
    return tokens, logits.softmax(-1).gather(-1, tokens[:, None])[:, 0]
