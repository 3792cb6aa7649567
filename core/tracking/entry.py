"""What a tracker of experiments is told of a result: parameters, metrics, tags. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from core.errors import CorruptObject
from core.report import words
from core.report.metrics import at, values
from core.report.schema import AnyReport
from core.result import Result

MAX_VALUE: Final = 5000
"""Characters of a parameter or a tag; MLflow's own bound is between 5000 and 8000, by kind."""
NOT_PARAMETERS: Final = ("metadata", "webhook", "priority")
"""Of a spec: what has no influence on the result. A webhook's URL may hold a secret."""

_REPORT: Final[TypeAdapter[AnyReport]] = TypeAdapter(AnyReport)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric that has one for each block."""

    name: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One result, as a run."""

    name: str
    description: str
    params: dict[str, str]
    metrics: dict[str, float]
    points: tuple[Point, ...]
    tags: dict[str, str]


def entry_of(result: Result, job_id: str | None = None) -> Entry:
    """Raises CorruptObject for a report that this version cannot read."""
    report = result.report
    try:
        verdict = words.verdict(_REPORT.validate_python(report))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptObject(
            f"the report in {result.folder} is none that this version reads: {place}: {first['msg']}.",
            remedy="Use the version that wrote it.",
        ) from None
    return Entry(
        name=_name(report),
        description=verdict,
        params=_params(report),
        metrics=values(report),
        points=(*_block_sparsity(report), *_layer_sinks(report)),
        tags=_tags(result, job_id),
    )


def _name(report: Mapping[str, Any]) -> str:
    source = re.split(r"[/:]", str(at("model.source")(report)).rstrip("/"))[-1]
    job = report["job"]
    if report["kind"] == "analysis":
        return f"{source} analysis"
    return f"{source} {job.get('method')} {job.get('sparsity'):g} {job.get('pattern')}"


def _params(report: Mapping[str, Any]) -> dict[str, str]:
    """The spec, with the recipe as it was resolved and the model as it was found."""
    spec = {name: part for name, part in report["job"].items() if name not in NOT_PARAMETERS}
    model = {name: report["model"][name] for name in ("source", "revision", "family")}
    asked = spec.get("recipe") or {}
    resolved = {k: v for k, v in (report.get("recipe") or {}).items() if v is not None}
    return dict(_flat({**spec, "recipe": {**asked, **resolved}, "model": model}))


def _flat(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _block_sparsity(report: Mapping[str, Any]) -> Iterator[Point]:
    """The removed share of each block: matrices carry their block's number in their names."""
    removed: dict[int, list[float]] = {}
    for name, matrix in (at("sparsity.matrices")(report) or {}).items():
        block = re.search(r"\.(\d+)\.", name)
        if block is not None:
            total = removed.setdefault(int(block[1]), [0, 0])
            total[0] += matrix["removed"]
            total[1] += matrix["shape"][0] * matrix["shape"][1]
    for number, (gone, size) in sorted(removed.items()):
        yield Point("block_sparsity", number, gone / size)


def _layer_sinks(report: Mapping[str, Any]) -> Iterator[Point]:
    for layer in at("sinks.per_layer")(report) or ():
        for name in ("mass_share", "spatial_variance", "temporal_variance"):
            value = layer[name]["mean"]
            if value is not None:
                yield Point(f"layer_{name}", layer["layer"], value)


def _tags(result: Result, job_id: str | None) -> dict[str, str]:
    report = result.report
    job = {"secateur.job": job_id} if job_id else {}
    versions = {f"version.{name}": text for name, text in report["versions"].items()}
    metadata = report["job"].get("metadata") or {}
    return {
        **job,
        "secateur.result": result.digest,
        "secateur.kind": report["kind"],
        "model.source": report["model"]["source"],
        "model.revision": report["model"]["revision"],
        **versions,
        **{f"metadata.{name}": _short(text) for name, text in metadata.items()},
    }
