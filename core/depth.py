"""Quality in depth: looks at dense and pruned beyond their loss, each where the spec asks for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from core.analysis_spec import AnalysisSpec
from core.baseline import Compared, compare
from core.evaluate import Judged, put_weights, sequences
from core.evaluation.block_errors import BlockErrors, block_errors, sequences_to_compare
from core.evaluation.in_depth import (
    Condition,
    Look,
    knockout_sequences,
    sequences_by_look,
)
from core.evaluation.knockout import KnockedOut, knock_out
from core.evaluation.nelbo import NoisyTokens, draw
from core.evaluation.sinks_after import SinksAfter, watch_pruned
from core.models.checkpoint import Checkpoint
from core.phases import Phases
from core.pruning.observe import Observation
from core.pruning.plan import Plan
from core.pruning.targets import Targets
from core.spec import JobSpec
from core.stages import Loaded

HIDING: Final = "hiding sinks from attention"


@dataclass(frozen=True, slots=True)
class Depth:
    """What was found; None where the spec did not ask."""

    sinks_after: SinksAfter | None = None
    reconstruction: BlockErrors | None = None
    knockout: dict[Condition, KnockedOut] | None = None
    baseline: Compared | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that was pruned and judged, and what that was done with."""

    loaded: Loaded
    spec: JobSpec
    plan: Plan
    targets: Targets
    seen: Observation
    pruned: Checkpoint
    judged: Judged

    @property
    def noisy(self) -> NoisyTokens:
        """What both models were judged on, or would have been."""
        if self.judged.noisy is not None:
            return self.judged.noisy
        return evaluation_tokens(
            self.loaded, self.spec.calibration.noise_eps, self.spec.evaluation.seed
        )


def evaluation_tokens(loaded: Loaded, eps: float, seed: int) -> NoisyTokens:
    return draw(loaded.prepared.evaluation, loaded.decoder.family, eps, seed)


def depth_sequences(spec: JobSpec, loaded: Loaded) -> dict[Look, int]:
    """Sequences through the whole model for each look that `spec` asks for."""
    samples, timesteps, _ = loaded.prepared.trajectories.noised.shape
    return sequences_by_look(
        spec.evaluation,
        loaded.decoder.family,
        evaluated=len(loaded.prepared.evaluation),
        samples=samples,
        timesteps=timesteps,
    )


def judging_share(spec: JobSpec, loaded: Loaded) -> float:
    """Of the evaluation, what judging dense and pruned takes beside all looks that go deeper."""
    deeper = sum(depth_sequences(spec, loaded).values())
    judged = 2 * sequences(spec.evaluation, loaded.prepared, loaded.decoder.family)
    return judged / (judged + deeper) if deeper else 1.0


def look_deeper(subject: Subject, phases: Phases, share: float) -> Depth:
    """All looks that the spec asks for, which take about `share` of the whole run. The decoder holds
    the pruned weights before and after each."""
    sizes = depth_sequences(subject.spec, subject.loaded)
    whole = sum(sizes.values()) or 1
    found: dict[str, Any] = {}
    for name, (message, look) in LOOKS.items():
        if name in sizes:
            with phases.phase("evaluating", share * sizes[name] / whole, message):
                found[name] = look(subject, phases)
    return Depth(**found)


def _sinks_after(subject: Subject, phases: Phases) -> SinksAfter:
    loaded, plan = subject.loaded, subject.plan
    pruned = watch_pruned(
        loaded.decoder,
        loaded.prepared.trajectories,
        subject.spec.sinks,
        group=plan.group,
        watch=phases.step,
    )
    present = loaded.prepared.trajectories.present
    return SinksAfter(
        dense=subject.seen.kept[: len(pruned)],
        pruned=pruned,
        present=None if present is None else present[: len(pruned)],
    )


def _reconstruction(subject: Subject, phases: Phases) -> BlockErrors:
    decoder, dense = subject.loaded.decoder, subject.loaded.checkpoint
    return block_errors(
        decoder,
        sequences_to_compare(subject.noisy, decoder.dimensions.mask_token),
        lambda block: put_weights(decoder, dense, block),
        lambda block: put_weights(decoder, subject.pruned, block),
        group=subject.plan.group,
        watch=phases.step,
    )


def _knockout(subject: Subject, phases: Phases) -> dict[Condition, KnockedOut]:
    loaded, spec = subject.loaded, subject.spec
    put_weights(loaded.decoder, loaded.checkpoint)
    found = hide_sinks(loaded, spec, spec.evaluation.seed, subject.plan.group, phases)
    put_weights(loaded.decoder, subject.pruned)
    return found


def hidden_sequences(loaded: Loaded) -> int:
    """Sequences through the whole model, at most, that `hide_sinks` takes."""
    return knockout_sequences(len(loaded.prepared.evaluation), loaded.decoder.family)


def hide_sinks(
    loaded: Loaded, spec: JobSpec | AnalysisSpec, seed: int, group: int, phases: Phases
) -> dict[Condition, KnockedOut]:
    """The knock-out of the model in the decoder, on the tokens that a job of this seed judges."""
    noisy = evaluation_tokens(loaded, spec.calibration.noise_eps, seed)
    return knock_out(loaded.decoder, noisy, spec.sinks, seed=seed, group=group, watch=phases.step)


def _baseline(subject: Subject, phases: Phases) -> Compared:
    found = compare(
        subject.loaded,
        subject.spec,
        subject.plan,
        subject.targets,
        subject.seen,
        subject.pruned,
        subject.noisy if subject.spec.evaluation.nelbo else None,
        phases,
    )
    put_weights(subject.loaded.decoder, subject.pruned)
    return found


LOOKS: Final[dict[Look, tuple[str, Callable[[Subject, Phases], object]]]] = {
    "sinks_after": ("watching the pruned model's sinks", _sinks_after),
    "reconstruction": ("comparing block by block", _reconstruction),
    "knockout": (HIDING, _knockout),
    "baseline": ("pruning by another method to compare", _baseline),
}
"""What is told while it goes on, and how it is done; in this order."""
