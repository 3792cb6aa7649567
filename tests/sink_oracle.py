"""Sink statistics a second time, position by position in plain loops; shares no code with `core`."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Bits = NDArray[np.bool_]


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else math.nan


def variance(numbers: list[float]) -> float:
    return mean([(x - mean(numbers)) ** 2 for x in numbers])


def share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def sink_sets(mass: Array, present: Bits, kappa: float) -> list[set[int]]:
    found = []
    for row, there in zip(mass.tolist(), present.tolist(), strict=True):
        known = [m for m, is_there in zip(row, there, strict=True) if is_there]
        bound = mean(known) + kappa * math.sqrt(variance(known))
        found.append({i for i, m in enumerate(row) if there[i] and m > bound})
    return found


def statistics(
    mass: Array,
    norms: Array,
    masked: Bits,
    present: Bits | None = None,
    *,
    kappa: float = 2.0,
    stable: float = 0.8,
) -> dict[str, float]:
    """Of one trajectory, every argument (timesteps, positions)."""
    steps, positions = mass.shape
    there = np.ones(mass.shape, dtype=bool) if present is None else present
    sets = sink_sets(mass, there, kappa)
    each = [(t, i) for t in range(steps) for i in sorted(sets[t])]
    centroids = [
        sum(mass[t, i] * i for i in found) / sum(mass[t, i] for i in found)
        for t, found in enumerate(sets)
        if found
    ]
    relative = []
    for i in range(positions):
        seen = [mass[t, i] / mass[t][there[t]].mean() for t in range(steps) if there[t, i]]
        relative += [mean(seen)] if seen else []
    ever = {i for _, i in each}
    lasting = [mean([float(i in sets[t]) for t in range(steps) if there[t, i]]) for i in ever]
    ratios = []
    for t, found in enumerate(sets):
        rest = [i for i in range(positions) if there[t, i] and i not in found]
        if found and rest:
            ratios.append(mean([norms[t, i] for i in found]) / mean([norms[t, i] for i in rest]))
    ends = [set(np.flatnonzero(there[t])[[0, -1]].tolist()) for t in range(steps)]
    kept = share(sum(p >= stable - 1e-9 for p in lasting), len(ever))
    return {
        "spatial_variance": variance(relative) / positions**2,
        "spatial_variance_relative": variance(relative),
        "temporal_variance": variance(centroids),
        "temporal_variance_relative": variance(centroids) / positions**2,
        "stable_share": kept,
        "transient_share": 1 - kept,
        "mass_share": mean(
            [sum(mass[t, i] for i in sets[t]) / mass[t][there[t]].sum() for t in range(steps)]
        ),
        "jaccard": mean([len(a & b) / len(a | b) for a, b in pairwise(sets) if a | b]),
        "masked_share": share(sum(bool(masked[t, i]) for t, i in each), len(each)),
        "ends_share": share(sum(i in ends[t] for t, i in each), len(each)),
        "sinks_per_step": len(each) / steps,
        "value_norm_ratio": mean(ratios),
    }
