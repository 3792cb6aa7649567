"""What looks beyond the loss have found, as parts of a report."""

from collections.abc import Mapping
from typing import Any

from core.analysis_spec import AnalysisSpec
from core.depth import Depth, evaluation_tokens
from core.evaluate import Judged
from core.evaluation.in_depth import Condition
from core.evaluation.knockout import KnockedOut
from core.report import depth_facts
from core.report.quality_parts import Knockout
from core.spec import JobSpec
from core.stages import Loaded


def depth_parts(depth: Depth, loaded: Loaded, spec: JobSpec, judged: Judged) -> dict[str, Any]:
    """Fields of a report's `quality`; what the spec did not ask for is left out."""
    found: dict[str, Any] = {}
    if depth.reconstruction is not None:
        found["reconstruction"] = depth_facts.block_facts(depth.reconstruction)
    if depth.sinks_after is not None:
        threshold = spec.sinks.threshold_std
        found["sinks_after"] = depth_facts.sinks_after_facts(depth.sinks_after, threshold)
    if depth.knockout is not None:
        found["knockout"] = knockout_part(loaded, spec, spec.evaluation.seed, depth.knockout)
    if depth.baseline is not None:
        other = depth.baseline
        found["baseline"] = depth_facts.baseline_facts(
            other.method, other.masks, spec.recipe, other.judged, judged.pruned
        )
    return found


def knockout_part(
    loaded: Loaded,
    spec: JobSpec | AnalysisSpec,
    seed: int,
    found: Mapping[Condition, KnockedOut],
) -> Knockout:
    """Of the tokens that `core.depth.hide_sinks` was given the same seed for."""
    noisy = evaluation_tokens(loaded, spec.calibration.noise_eps, seed)
    text = loaded.prepared.evaluation_text
    return depth_facts.knockout_facts(noisy, found, spec.sinks, text)
