"""Realistic reports without a model: attention with a drifting sink, a fixed one, or none."""

from typing import Any, Literal

import numpy as np

from core.report.schema import (
    Agreement,
    AnalysisReport,
    CalibrationFacts,
    Cost,
    LayerSinks,
    MatrixSparsity,
    Mean,
    ModelFacts,
    Nelbo,
    Quality,
    Report,
    SinkFacts,
    SparsityFacts,
    Speed,
)
from core.report.sinks_file import SinkArrays

Behaviour = Literal["drifting", "fixed", "none"]
LLADA = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")
HEADS = 6


def sink_arrays(
    behaviour: Behaviour,
    *,
    samples: int = 6,
    timesteps: int = 10,
    layers: int = 6,
    positions: int = 256,
    seed: int = 0,
) -> SinkArrays:
    """Positions share HEADS a layer; a sink stands on one place, or wanders with the timestep."""
    rng = np.random.default_rng(seed)
    shape = (samples, timesteps, layers, positions)
    # A landscape that belongs to the text, with a little unrest over time and depth. Without
    # sinks it is flat.
    landscape = rng.gamma(6.0 if behaviour != "none" else 400.0, size=(samples, 1, 1, positions))
    mass = landscape * rng.gamma(30.0, size=shape)
    rate = np.linspace(1 / timesteps, 1, timesteps)
    masked = rng.random((samples, timesteps, positions)) < rate[None, :, None]
    if behaviour != "none":
        home = np.zeros(samples) if behaviour == "fixed" else rng.uniform(0.1, 0.5, samples)
        speed = np.zeros(samples) if behaviour == "fixed" else rng.uniform(-0.1, 0.5, samples)
        wobble = 0.0 if behaviour == "fixed" else 0.03
        depth = np.linspace(0.3, 1.0, layers)
        for n, t in np.ndindex(samples, timesteps):
            at = home[n] + speed[n] * rate[t] + rng.normal(0, wobble, 2)
            places = np.unique((np.clip(at, 0, 1) * (positions - 1)).astype(int))
            mass[n, t][:, places] += 180 * 0.06 * positions * depth[:, None]
    mass *= HEADS / mass.mean(-1, keepdims=True)
    total = mass.sum(2)
    bound = total.mean(-1, keepdims=True) + 2 * total.std(-1, keepdims=True)
    sink = total > (bound if behaviour != "none" else np.inf)
    weight = (total * sink).sum(-1)
    moment = (total * sink * np.arange(positions)).sum(-1)
    return SinkArrays.make(
        mass=mass,
        masked=masked,
        timesteps=[5 * (t + 1) for t in range(timesteps)],
        centroid=np.divide(moment, weight, out=np.full_like(weight, np.nan), where=weight > 0),
        sink=sink,
        persistence=sink.mean(1),
    )


def report_for(arrays: SinkArrays, **changes: Any) -> Report:
    """A report that belongs to `arrays`; `changes` replace its parts."""
    parts: dict[str, Any] = {
        "job": {
            "model": {"source": "example:verse-dlm", "revision": "main"},
            "method": "sink-wanda",
            "sparsity": 0.5,
            "pattern": "unstructured",
            "sinks": {"threshold_std": 2.0, "sharpness": 5.0, "stable_persistence": 0.8},
            "metadata": {"team": "search"},
        },
        "model": ModelFacts(
            source="example:verse-dlm",
            revision="sha256:" + "0123456789abcdef" * 4,
            family="llada",
            attention="bidirectional",
            parameters=2_713_344,
            blocks=arrays.mass.shape[2],
            heads=HEADS,
            context=arrays.mass.shape[3],
        ),
        "calibration": calibration(arrays),
        "recipe": {
            "score": "wanda",
            "inputs": "noised",
            "order": "one-shot",
            "sinks": "discount-all",
            "allocation": "uniform",
        },
        "plan": Cost(peak_bytes=812_000_000, seconds=41.0, flops=3.2e12, forwards=1600),
        "actual": Cost(
            peak_bytes=790_000_000,
            seconds=44.2,
            flops=3.2e12,
            forwards=1600,
            seconds_by_phase={
                "fetching": 0.4, "analysing": 27.1, "pruning": 0.9, "evaluating": 15.0, "publishing": 0.8,
            },
        ),
        "sparsity": sparsity(arrays.mass.shape[2]),
        "sinks": sink_facts(arrays),
        "quality": Quality(nelbo=nelbo(), agreement=Agreement(top1=0.871, stderr=0.006, positions=4096)),
        "speed": Speed(
            dense_seconds=0.212, pruned_seconds=0.209, ratio=1.014, runs=5,
            note="Unstructured zeros are multiplied like other numbers.",
        ),
        "versions": {"python": "3.11.7", "secateur": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0"},
        "seeds": {"calibration": 0, "evaluation": 1},
        "warnings": [],
    }  # fmt: skip
    return Report(**{**parts, **changes})


def analysis_for(arrays: SinkArrays, **changes: Any) -> AnalysisReport:
    """An analysis that belongs to `arrays`; `changes` replace its parts."""
    pruned = report_for(arrays).model_dump()
    parts = {name: pruned[name] for name in AnalysisReport.model_fields if name in pruned}
    for absent in ("kind", "recipe", "sparsity", "quality", "speed"):
        del parts[absent]
    job = {name: pruned["job"][name] for name in ("model", "sinks")}
    return AnalysisReport.model_validate({**parts, "job": job, **changes})


def calibration(arrays: SinkArrays) -> CalibrationFacts:
    return CalibrationFacts(
        source="builtin:plain-text",
        revision=None,
        process="llada",
        replaces=False,
        timesteps=arrays.timesteps.tolist(),
        corrupted=arrays.masked.mean((0, 2)).tolist(),
        weights=[1.0] * len(arrays.timesteps),
    )


def nelbo(difference: float = 0.1234, stderr: float = 0.0042) -> Nelbo:
    return Nelbo(
        dense=1.5432,
        pruned=1.5432 + difference,
        difference=difference,
        stderr=stderr,
        dense_stderr=0.031,
        pruned_stderr=0.034,
        perplexity_bound_dense=float(np.exp(1.5432)),
        perplexity_bound_pruned=float(np.exp(1.5432 + difference)),
        tokens=8192,
        samples=32,
        text="builtin:plain-text, the held-out part that calibration never saw",
    )


def expert_sparsity(layers: int, experts: int) -> SparsityFacts:
    """A dense block and blocks of experts, as LLaDA2 names them; each expert loses one more."""
    names = {"attention.query_key_value": 0, "attention.dense": 0}
    ways = ("gate_proj", "up_proj", "down_proj")
    matrices = {}
    for layer in range(layers):
        within = names | {f"mlp.{way}": 0 for way in ways}
        if layer:
            within = names | {f"mlp.shared_experts.{way}": 0 for way in ways}
            within |= {f"mlp.experts.{e}.{way}": e for e in range(experts) for way in ways}
        for name, more in within.items():
            removed = 500 + more
            matrices[f"model.layers.{layer}.{name}.weight"] = MatrixSparsity(
                shape=(10, 100), removed=removed, fraction=removed / 1000
            )
    return SparsityFacts(overall=0.5, matrices=matrices)


def sparsity(layers: int) -> SparsityFacts:
    shapes = dict.fromkeys(LLADA[:4], (192, 192)) | {
        "ff_proj": (512, 192), "up_proj": (512, 192), "ff_out": (192, 512),
    }  # fmt: skip
    matrices = {
        f"model.transformer.blocks.{layer}.{kind}.weight": MatrixSparsity(
            shape=shape, removed=shape[0] * (shape[1] // 2), fraction=0.5
        )
        for layer in range(layers)
        for kind, shape in shapes.items()
    }
    return SparsityFacts(overall=0.5, matrices=matrices)


def sink_facts(arrays: SinkArrays) -> SinkFacts:
    mass = arrays.mass.astype(np.float64)
    per_layer = [
        LayerSinks(
            layer=layer,
            spatial_variance=_spatial(mass[:, :, layer]),
            temporal_variance=_drift(arrays, 1.0 + 0.1 * layer),
            temporal_variance_relative=_drift(arrays, (1.0 + 0.1 * layer) / mass.shape[-1] ** 2),
            mass_share=Mean(mean=0.2, stderr=0.01),
        )
        for layer in range(mass.shape[2])
    ]
    found = arrays.sink.any()
    ever = (arrays.persistence > 0).sum(-1)
    stable = (arrays.persistence >= 0.8).sum(-1) / np.maximum(ever, 1)
    return SinkFacts(
        trajectory="forward-noise",
        samples=len(mass),
        timesteps=arrays.timesteps.tolist(),
        positions=mass.shape[-1],
        threshold_std=2.0,
        spatial_variance=_spatial(mass.sum(2)),
        temporal_variance=_drift(arrays, 1.0),
        temporal_variance_relative=_drift(arrays, 1 / mass.shape[-1] ** 2),
        transient_share=_mean(1 - stable) if found else Mean(mean=None, stderr=None),
        stable_share=_mean(stable) if found else Mean(mean=None, stderr=None),
        mass_share=_mean((mass.sum(2) * arrays.sink).sum((1, 2)) / mass.sum((1, 2, 3))),
        jaccard=Mean(mean=0.41, stderr=0.03) if found else Mean(mean=None, stderr=None),
        masked_share=Mean(mean=0.63, stderr=0.02) if found else Mean(mean=None, stderr=None),
        sinks_per_step=_mean(arrays.sink.sum(-1).mean(-1)),
        timesteps_without_sink=int((~arrays.sink.any(-1)).sum()),
        per_layer=per_layer,
    )


def _mean(values: Any) -> Mean:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Mean(mean=None, stderr=None)
    stderr = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else None
    return Mean(mean=float(known.mean()), stderr=stderr)


def _spatial(mass: Any) -> Mean:
    shares = mass / mass.sum(-1, keepdims=True)
    return _mean(shares.mean(1).var(-1))


def _drift(arrays: SinkArrays, scale: float) -> Mean:
    paths = [row[np.isfinite(row)] for row in arrays.centroid.astype(np.float64)]
    return _mean([scale * path.var() for path in paths if len(path)])
