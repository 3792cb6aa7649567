"""What dense and pruned are asked to write side by side, and what that takes. Free of torch."""

from typing import Final

from core.calibration.continuation import Continuation, Written, continuing, own_spans
from core.calibration_spec import Generation
from core.models.families import Family

PROMPT: Final = 64
"""Positions that are given, of a sequence that has twice as many."""
WRITTEN: Final = 64
STEPS: Final = 32
"""So few that a sample costs no more than four windows' NELBO, and twice as quick as one by one."""


def text_continuation(family: Family, positions: int) -> Continuation:
    """The most likely text by the family's own sampler, after the beginning of a window of
    `positions`, as far as the window has room for it and for what was really there."""
    prompt = min(PROMPT, positions // 2)
    end = min(prompt + WRITTEN, positions)
    spans = own_spans(family, prompt, end)
    most = min(STEPS, end - prompt)
    steps = max(most // len(spans), 1) * len(spans)
    # Where the model is surest first, for every family: without chance, two models compare.
    return continuing(family, prompt, end, steps, Generation(), 0.001, spans)


def texts_of(family: Family, positions: int, count: int) -> tuple[Written, ...]:
    """What `count` texts of dense and of pruned take."""
    if not count:
        return ()
    return (Written(2 * count, text_continuation(family, positions).cost),)
