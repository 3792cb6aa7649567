"""A job's model pruned once more, by another method, to be compared with; nothing of it is kept."""

from dataclasses import dataclass, replace

import torch

from core.evaluate import put_weights
from core.evaluation.mask_difference import MaskDifference
from core.evaluation.nelbo import Judgement, NoisyTokens, judge
from core.models.checkpoint import Checkpoint
from core.phases import Phases
from core.pruning.engine import Pruned, prune
from core.pruning.observe import Observation
from core.pruning.plan import Plan
from core.pruning.targets import Targets
from core.recipes import METHODS, Method
from core.spec import JobSpec
from core.stages import Loaded, measure


@dataclass(frozen=True, slots=True)
class Compared:
    """The job's result beside its baseline's."""

    method: Method
    masks: MaskDifference
    """Ours are the job's, theirs the baseline's."""
    judged: Judgement | None
    """The baseline on the tokens that dense and pruned were judged on, where these were."""


def compare(
    loaded: Loaded,
    spec: JobSpec,
    plan: Plan,
    targets: Targets,
    seen: Observation,
    pruned: Checkpoint,
    noisy: NoisyTokens | None,
    phases: Phases,
) -> Compared:
    """Prune the dense model by `spec.evaluation.baseline`, with the job's targets and calibration, and
    hold it against the job's `pruned` checkpoint. The decoder holds the baseline's weights then."""
    method, decoder = spec.evaluation.baseline, loaded.decoder
    assert method is not None
    put_weights(decoder, loaded.checkpoint)
    # Statistics that were taken while watching are those of the job's own recipe.
    watched = replace(seen, statistics={})
    statistics, carried = measure(loaded, spec, METHODS[method], plan, watched, phases)
    masks = MaskDifference(decoder.dimensions)
    prune(
        decoder,
        METHODS[method],
        targets.patterns,
        damping=spec.recipe.damping,
        statistics=statistics,
        watched=carried,
        group=plan.group,
        keep=lambda each: _hold(masks, each, loaded.checkpoint, pruned),
        watch=phases.step,
    )
    judged = None
    if noisy is not None:
        judged = judge(decoder, noisy, group=plan.group, watch=phases.step)
    return Compared(method, masks, judged)


@torch.inference_mode()
def _hold(masks: MaskDifference, theirs: Pruned, dense: Checkpoint, ours: Checkpoint) -> None:
    """A weight was removed where it is zero and was not. Of the job's own masks nothing else is left
    in a run that went on with another's work."""
    matrix = theirs.matrix
    weight = matrix.linear.weight
    there = dense.read(matrix.name, matrix.rows).to(weight.device) != 0
    gone = ours.read(matrix.name, matrix.rows).to(weight.device) == 0
    masks.add(matrix, gone & there, (weight == 0) & there)
