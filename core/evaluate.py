"""Judge the dense and the pruned model on the same tokens, with one model in memory."""

from dataclasses import dataclass
from time import perf_counter

import torch

from core.calibration.prepare import Prepared
from core.dense import DenseAnswers
from core.evaluation import speed
from core.evaluation.draws import draws_of
from core.evaluation.nelbo import Judgement, NoisyTokens, Watch, draw, judge
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
    dense_origin: str | None = None
    """Whose judgement of the dense model was taken over."""


def sequences(evaluation: Evaluation, prepared: Prepared, family: Family) -> int:
    """Sequences each of the two models is judged on."""
    asked = evaluation.nelbo or evaluation.agreement
    return len(prepared.evaluation) * draws_of(family) if asked else 0


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
    asked = spec.evaluation
    noisy = answers = original = timing = None
    if asked.nelbo or asked.agreement:
        noisy = draw(prepared.evaluation, decoder.family, spec.calibration.noise_eps, asked.seed)
        questions = noisy
        answers = judge(decoder, noisy, group=group, watch=lambda done, of: watch(done, 2 * of))

        def judge_dense() -> Judgement:
            put_weights(decoder, dense)
            found = judge(
                decoder, questions, group=group, watch=lambda done, of: watch(of + done, 2 * of)
            )
            put_weights(decoder, pruned)
            return found

        original = kept.of(decoder, noisy, group, judge_dense) if kept else judge_dense()
    if asked.speed:
        timing = speed.compare(
            decoder,
            lambda: put_weights(decoder, dense),
            lambda: put_weights(decoder, pruned),
            prepared.evaluation[: max(1, group // SPEED_SHARE)],
            perf_counter,
        )
    return Judged(noisy, original, answers, timing, kept.origin if kept else None)


@torch.inference_mode()
def put_weights(decoder: Decoder, checkpoint: Checkpoint) -> None:
    """Overwrite the decoder's prunable matrices with the checkpoint's."""
    for matrix in decoder.all_matrices():
        matrix.linear.weight.copy_(checkpoint.read(matrix.name, matrix.rows))
