"""Judge the dense and the pruned model on the same tokens, with one model in memory."""

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from core.calibration.prepare import Prepared
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
) -> Judged:
    """Measure what `spec.evaluation` asks for; `decoder` holds the pruned weights before and after."""
    asked = spec.evaluation
    noisy, windows = None, prepared.evaluation[: texts(asked, prepared)]
    if asked.nelbo or asked.agreement:
        noisy = draw(prepared.evaluation, decoder.family, spec.calibration.noise_eps, asked.seed)
    answers = original = written = timing = None
    if noisy is not None or len(windows):
        answers, by_pruned = _answers(decoder, noisy, windows, group, _half(watch, 0))
        put_weights(decoder, dense)
        original, by_dense = _answers(decoder, noisy, windows, group, _half(watch, 1))
        put_weights(decoder, pruned)
        if by_dense is not None and by_pruned is not None:
            prompt = text_continuation(decoder.family, windows.shape[1]).prompt
            written = Texts(prompt, windows[:, : by_dense.shape[1]], by_dense, by_pruned)
    if asked.speed:
        timing = speed.compare(
            decoder,
            lambda: put_weights(decoder, dense),
            lambda: put_weights(decoder, pruned),
            prepared.evaluation[: max(1, group // SPEED_SHARE)],
            perf_counter,
        )
    return Judged(noisy, original, answers, timing, written)


def _half(watch: Watch, second: int) -> Watch:
    """Steps of one of two models, told as steps of both."""
    return lambda done, of: watch(second * of + done, 2 * of)


def _answers(
    decoder: Decoder, noisy: NoisyTokens | None, windows: Tensor, group: int, watch: Watch
) -> tuple[Judgement | None, Tensor | None]:
    """What the model that `decoder` holds makes of what both are asked."""
    judged = None if noisy is None else judge(decoder, noisy, group=group, watch=watch)
    written = go_on(decoder, windows, group=group, watch=watch) if len(windows) else None
    return judged, written


@torch.inference_mode()
def put_weights(decoder: Decoder, checkpoint: Checkpoint) -> None:
    """Overwrite the decoder's prunable matrices with the checkpoint's."""
    for matrix in decoder.all_matrices():
        matrix.linear.weight.copy_(checkpoint.read(matrix.name, matrix.rows))
