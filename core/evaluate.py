"""Judge the dense and the pruned model on the same tokens, with one model in memory."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from core.calibration.prepare import Prepared
from core.dense import DenseAnswers
from core.evaluation import speed
from core.evaluation.draws import draws_of
from core.evaluation.generation import Texts, go_on
from core.evaluation.nelbo import Judgement, NoisyTokens, Watch, draw, judge
from core.evaluation.prompts import text_continuation
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder
from core.models.families import Family
from core.spec import Evaluation, JobSpec

SPEED_SHARE = 4
"""Of a group, what one timed forward takes: enough to fill two cores, and twenty are timed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured; None where the spec did not ask."""

    noisy: NoisyTokens | None = None
    dense: Judgement | None = None
    pruned: Judgement | None = None
    timing: speed.Timing | None = None
    texts: Texts | None = None
    dense_origin: str | None = None
    """Whose judgement of the dense model was taken over."""


def sequences(evaluation: Evaluation, prepared: Prepared, family: Family) -> int:
    """Sequences each of the two models is judged on."""
    asked = evaluation.nelbo or evaluation.agreement
    return len(prepared.evaluation) * draws_of(family) if asked else 0


def texts(evaluation: Evaluation, prepared: Prepared) -> int:
    """Beginnings that each of the two models goes on with."""
    samples, positions = prepared.evaluation.shape
    readable = prepared.tokenizer is not None and positions > 1
    return min(evaluation.texts, samples) if readable else 0


def judge_both(
    decoder: Decoder,
    *,
    dense: Checkpoint,
    pruned: Checkpoint,
    prepared: Prepared,
    spec: JobSpec,
    group: int,
    watch: Watch,
    kept: DenseAnswers | None = None,
) -> Judged:
    """Measure what `spec.evaluation` asks for; `decoder` holds the pruned weights before and after.

    What `kept` has of the dense model is not found out again.
    """
    asked, step = spec.evaluation, partial(_half, watch)
    noisy = answers = original = timing = None

    @contextmanager
    def with_dense() -> Iterator[None]:
        put_weights(decoder, dense)
        yield
        put_weights(decoder, pruned)

    def judge_dense() -> Judgement:
        assert noisy is not None
        with with_dense():
            return judge(decoder, noisy, group=group, watch=step(1))

    if asked.nelbo or asked.agreement:
        noisy = draw(prepared.evaluation, decoder.family, spec.calibration.noise_eps, asked.seed)
        answers = judge(decoder, noisy, group=group, watch=step(0))
        original = kept.of(decoder, noisy, group, judge_dense) if kept else judge_dense()
    windows = prepared.evaluation[: texts(asked, prepared)]
    written = _texts(decoder, windows, with_dense(), group, step) if len(windows) else None
    if asked.speed:
        timing = speed.compare(
            decoder,
            lambda: put_weights(decoder, dense),
            lambda: put_weights(decoder, pruned),
            prepared.evaluation[: max(1, group // SPEED_SHARE)],
            perf_counter,
        )
    return Judged(noisy, original, answers, timing, written, kept.origin if kept else None)


def _texts(
    decoder: Decoder,
    windows: Tensor,
    with_dense: AbstractContextManager[None],
    group: int,
    step: Callable[[int], Watch],
) -> Texts:
    """What both models make of the beginnings of `windows` (samples, positions)."""
    by_pruned = go_on(decoder, windows, group=group, watch=step(0))
    with with_dense:
        by_dense = go_on(decoder, windows, group=group, watch=step(1))
    prompt = text_continuation(decoder.family, windows.shape[1]).prompt
    return Texts(prompt, windows[:, : by_dense.shape[1]], by_dense, by_pruned)


def _half(watch: Watch, second: int) -> Watch:
    """Steps of one of two models, told as steps of both."""
    return lambda done, of: watch(second * of + done, 2 * of)


@torch.inference_mode()
def put_weights(decoder: Decoder, checkpoint: Checkpoint, block: int | None = None) -> None:
    """Overwrite the decoder's prunable matrices with the checkpoint's; only one block's, if given."""
    for matrix in decoder.all_matrices() if block is None else decoder.matrices(block):
        matrix.linear.weight.copy_(checkpoint.read(matrix.name, matrix.rows))
