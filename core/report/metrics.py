"""The numbers of a report by name: what a pipeline compares and what experiment trackers plot.

Reads `report.json` as plain JSON, so that a client without numerics, or one that is older than the
report, can read it too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Needs = Literal["nelbo", "agreement", "speed"]
"""Which of the spec's evaluations must be on for the number to exist."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a report."""

    name: str
    meaning: str
    read: Callable[[Document], Any]
    """None where this report does not have it."""
    needs: Needs | None = None


def at(path: str) -> Callable[[Document], Any]:
    """Reads what lies at `a.b.c`; None where a part of the path is missing or null."""

    def read(report: Document) -> Any:
        value: Any = report
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    return read


def _count(path: str) -> Callable[[Document], int | None]:
    def read(report: Document) -> int | None:
        found = at(path)(report)
        return len(found) if isinstance(found, list) else None

    return read


def _ratio(above: str, below: str) -> Callable[[Document], float | None]:
    def read(report: Document) -> float | None:
        upper, lower = at(above)(report), at(below)(report)
        return upper / lower if _is_number(upper) and _is_number(lower) and lower else None

    return read


def _removed(report: Document) -> int | None:
    matrices = at("sparsity.matrices")(report)
    if not isinstance(matrices, Mapping):
        return None
    return sum(int(matrix["removed"]) for matrix in matrices.values())


def _sinks(name: str, meaning: str) -> tuple[Metric, Metric]:
    """A statistic of the sinks, and its standard error over samples."""
    return (
        Metric(name, meaning, at(f"sinks.{name}.mean")),
        Metric(f"{name}_stderr", f"standard error of {name}", at(f"sinks.{name}.stderr")),
    )


METRICS: tuple[Metric, ...] = (
    Metric("nelbo_delta", "loss of the pruned model minus the dense one's, nats per token",
           at("quality.nelbo.difference"), "nelbo"),
    Metric("nelbo_stderr", "standard error of nelbo_delta", at("quality.nelbo.stderr"), "nelbo"),
    Metric("nelbo_errors", "nelbo_delta in standard errors: above 2 it is beyond noise",
           _ratio("quality.nelbo.difference", "quality.nelbo.stderr"), "nelbo"),
    Metric("nelbo_dense", "loss of the dense model, nats per token",
           at("quality.nelbo.dense"), "nelbo"),
    Metric("nelbo_pruned", "loss of the pruned model, nats per token",
           at("quality.nelbo.pruned"), "nelbo"),
    Metric("perplexity_dense", "of the dense model; a bound for diffusion models",
           at("quality.nelbo.perplexity_bound_dense"), "nelbo"),
    Metric("perplexity_pruned", "of the pruned model; a bound for diffusion models",
           at("quality.nelbo.perplexity_bound_pruned"), "nelbo"),
    Metric("perplexity_ratio", "perplexity_pruned over perplexity_dense",
           _ratio("quality.nelbo.perplexity_bound_pruned", "quality.nelbo.perplexity_bound_dense"),
           "nelbo"),
    Metric("agreement", "share of predicted positions with the dense model's first choice",
           at("quality.agreement.top1"), "agreement"),
    Metric("agreement_stderr", "standard error of agreement",
           at("quality.agreement.stderr"), "agreement"),
    Metric("speedup", "dense over pruned seconds of a forward on the worker's machine",
           at("speed.ratio"), "speed"),
    Metric("forward_seconds_dense", "one forward of the dense model",
           at("speed.dense_seconds"), "speed"),
    Metric("forward_seconds_pruned", "one forward of the pruned model",
           at("speed.pruned_seconds"), "speed"),
    Metric("sparsity", "removed share of all prunable weights", at("sparsity.overall")),
    Metric("removed", "weights set to zero", _removed),
    Metric("unreached", "experts' matrices that no calibration token reached",
           _count("sparsity.unreached")),
    Metric("parameters", "of the model", at("model.parameters")),
    Metric("seconds", "the run took", at("actual.seconds")),
    Metric("peak_bytes", "memory of the run at its peak", at("actual.peak_bytes")),
    Metric("flops", "arithmetic of the run", at("actual.flops")),
    Metric("forwards", "sequences sent through the whole model", at("actual.forwards")),
    Metric("planned_seconds", "the run was predicted to take", at("plan.seconds")),
    Metric("planned_peak_bytes", "memory the run was predicted to need", at("plan.peak_bytes")),
    *_sinks("spatial_variance", "variance of attention mass over positions"),
    *_sinks("temporal_variance", "variance of the sinks' centroid over timesteps"),
    *_sinks("temporal_variance_relative", "temporal_variance with the length as unit"),
    *_sinks("transient_share", "share of sink positions that come and go"),
    *_sinks("stable_share", "share of sink positions that stay"),
    *_sinks("mass_share", "share of all attention that sinks take"),
    *_sinks("jaccard", "overlap of the sinks of neighbouring timesteps"),
    *_sinks("masked_share", "share of sinks on corrupted positions"),
    *_sinks("sinks_per_step", "sinks at a timestep"),
    Metric("timesteps_without_sink", "over all samples", at("sinks.timesteps_without_sink")),
    Metric("warnings", "warnings in the report", _count("warnings")),
)  # fmt: skip

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def values(report: Document) -> dict[str, float]:
    """Every metric that `report` has, by name; whole numbers stay whole."""
    found = {metric.name: metric.read(report) for metric in METRICS}
    return {name: value for name, value in found.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
