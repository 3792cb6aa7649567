"""What a model writes after prompts that calibration did not see, for people to read."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.calibration.samplers import SAMPLERS, generators
from core.calibration.text import TextTokenizer
from core.evaluation.prompts import text_continuation
from core.models.decoder import Decoder

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Texts:
    """Windows and what two models make of their beginnings, all (samples, positions) int64."""

    prompt: int
    """Positions at the beginning that all three have in common."""
    truth: Tensor
    dense: Tensor
    pruned: Tensor


def go_on(decoder: Decoder, windows: Tensor, *, group: int, watch: Watch) -> Tensor:
    """(samples, prompt + written): the beginnings of windows (samples, positions) with what the model
    writes after them. Without chance, so `group` shows in nothing."""
    wanted = text_continuation(decoder.family, windows.shape[1])
    found = []
    for begin in range(0, len(windows), group):
        prompts = windows[begin : begin + group, : wanted.prompt]
        rngs = generators(0, range(len(prompts)))
        state = prompts
        for state in SAMPLERS[wanted.sampler](decoder, prompts, wanted, rngs):  # noqa: B007 - the last
            pass
        found.append(state)
        watch(min(begin + group, len(windows)), len(windows))
    return torch.cat(found)


def words(tokenizer: TextTokenizer, texts: Texts) -> list[tuple[str, str, str, str]]:
    """(prompt, truth, dense, pruned) of each sample, special tokens left out."""
    cut = texts.prompt
    parts = [texts.truth[:, :cut], *(x[:, cut:] for x in (texts.truth, texts.dense, texts.pruned))]
    decoded = [[tokenizer.decode(row.tolist()) for row in rows] for rows in parts]
    return list(zip(*decoded, strict=True))
