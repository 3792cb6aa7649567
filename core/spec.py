"""The job contract: what a client may ask for. Free of torch; shared by api, client and workers."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from core.calibration_spec import Calibration, Strict, known_scheme
from core.errors import InvalidSpec, NotAvailable
from core.json_models import from_json
from core.recipes import METHODS, Inputs, Method, Order, Recipe, SinkUse
from core.trajectory_objections import trajectory_objections
from core.webhooks.urls import parse_target

MODEL_SCHEMES = ("hf://", "s3://", "file:///", "example:")
PUSH_SCHEMES = ("hf://", "s3://")


NM = re.compile(r"([1-9]\d?):([1-9]\d?)")


def kept_per_group(pattern: str) -> tuple[int, int] | None:
    """(N, M) of "N:M", N kept of every M; None for another pattern or an impossible pair."""
    found = NM.fullmatch(pattern)
    kept, group = (int(found[1]), int(found[2])) if found else (0, 0)
    return (kept, group) if 0 < kept < group <= 32 else None


def _known_pattern(pattern: str) -> str:
    named = ("unstructured", "structured:ffn", "structured:depth")
    if pattern not in named and kept_per_group(pattern) is None:
        raise ValueError(f"must be N:M (N kept of every M, N < M <= 32), {', '.join(named)}")
    return pattern


Pattern = Annotated[str, AfterValidator(_known_pattern)]


class ModelRef(Strict):
    """Where the dense checkpoint is. Revisions apply to hub sources only, and may also be written
    behind an @ there."""

    source: Annotated[str, known_scheme(MODEL_SCHEMES), Field(min_length=1, max_length=1024)]
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,200}$")] = "main"


Allocation = Literal["uniform", "owl", "early-sparser", "sensitivity"]
Share = Annotated[float, Field(ge=0, lt=1)]


class RecipeSpec(Strict):
    """What separates the methods. What is left out comes from the method's row."""

    inputs: Inputs | None = None
    order: Order | None = None
    sinks: SinkUse | None = None
    allocation: Allocation | Annotated[tuple[Share, ...], Field(min_length=1, max_length=1000)] = (
        "uniform"
    )
    """How sparsity is shared out over the blocks: by a rule, or each block's own share."""
    allocation_spread: Annotated[float, Field(gt=0, le=0.5)] = 0.08
    """Largest distance of a block's sparsity from the model's, where a rule shares it out."""
    outlier_threshold: Annotated[float, Field(gt=1, le=1000)] = 5.0
    """`owl`: a score this many times the block's mean counts as an outlier."""
    damping: Annotated[float, Field(gt=0, le=1)] = 0.01
    """SparseGPT: what is added to the Hessian's diagonal, as a share of its mean."""


class Sinks(Strict):
    """Soft-sink and sink-set parameters (arXiv 2602.17664, §3 and §4)."""

    threshold_std: Annotated[float, Field(ge=0, le=100)] = 2.0
    sharpness: Annotated[float, Field(gt=0, le=1e6)] = 5.0
    stable_persistence: Annotated[float, Field(gt=0, le=1)] = 0.8
    per_head: bool = False
    """Whether every head's statistics are reported beside every block's."""
    dump: bool = False
    """Whether `report/sinks-full.safetensors` is written: attention mass and value norms of every
    sample, by block and, with `per_head`, by head."""


class Evaluation(Strict):
    """What is measured on dense and pruned alike."""

    nelbo: bool = True
    agreement: bool = True
    speed: bool = True
    reconstruction: bool = True
    """How far each pruned block's output is from the dense one's."""
    sinks_after: bool = True
    """Where the pruned model's attention sinks are, on the first calibration samples."""
    knockout: bool = False
    """The dense model's loss with its sinks hidden from attention, beside random positions."""
    baseline: Method | None = None
    """Another method, by which the model is pruned once more to be compared."""
    samples: Annotated[int, Field(ge=2, le=65536)] = 32
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    texts: Annotated[int, Field(ge=0, le=16)] = 2
    """Held-out beginnings that dense and pruned go on with, to be read side by side."""


class Output(Strict):
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    packed: bool = False
    max_shard_bytes: Annotated[int, Field(ge=1_000_000, le=10**12)] = 2_000_000_000
    push: Annotated[str, known_scheme(PUSH_SCHEMES), Field(max_length=512)] | None = Field(
        None,
        description="where a worker pushes the finished result: hf://org/name, hf://org/name@branch or"
        " s3://bucket/prefix, below what the server's operator allows",
        examples=["s3://models/pruned/kjv-dlm", "hf://org/kjv-dlm-pruned@half-sparse"],
    )


def _can_be_told(url: str) -> str:
    parse_target(url)
    return url


class Webhook(Strict):
    """Who is told of the job's moves, and of which."""

    url: Annotated[str, AfterValidator(_can_be_told)] = Field(
        description="an https:// address without user and password; port 443, or 1024 and above",
        examples=["https://hooks.example.com/secateur"],
    )
    events: Annotated[
        tuple[Literal["running", "succeeded", "failed", "cancelled"], ...],
        Field(min_length=1, max_length=4),
    ] = ("succeeded", "failed", "cancelled")


MetadataKey = Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
# PostgreSQL compares no text with a NUL in it, so one such value would break every filter.
MetadataValue = Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")]


def _sparsity_may_be_implied(schema: dict[str, Any]) -> None:
    """What `_with_implied_sparsity` allows, in the words of a schema."""
    schema["required"] = ["model"]
    of_groups = {"pattern": {"pattern": r"^\d+:\d+$"}}
    shares = {"recipe": {"required": ["allocation"]}}
    schema["anyOf"] = [
        {"required": ["sparsity"]},
        {"required": ["pattern"], "properties": of_groups},
        {"required": ["recipe"], "properties": shares},
    ]


class JobSpec(Strict):
    """One immutable pruning request. Only `model` and `sparsity` must be given; N:M patterns and lists of
    shares imply the sparsity."""

    model_config = ConfigDict(json_schema_extra=_sparsity_may_be_implied)

    model: ModelRef
    method: Method = "sink-wanda"
    sparsity: Annotated[float, Field(gt=0, lt=1)]
    pattern: Pattern = "unstructured"
    recipe: RecipeSpec = RecipeSpec()
    calibration: Calibration = Calibration()
    sinks: Sinks = Sinks()
    evaluation: Evaluation = Evaluation()
    output: Output = Output()
    control: ModelRef | None = None
    """Another model, watched on the same text in its own way, to stand beside in the report. Plans and
    estimates leave it out."""
    webhook: Webhook | None = None
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)
    priority: Annotated[int, Field(ge=-100, le=100)] = 0

    @property
    def resolved_recipe(self) -> Recipe:
        """The method's row with the recipe's overrides."""
        given = self.recipe
        return METHODS[self.method].with_overrides(given.inputs, given.order, given.sinks)


def objections(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """(field, why) of what would have no effect or cannot be meant, in a spec whose fields are each
    valid."""
    given, recipe = spec.recipe, spec.resolved_recipe
    default = RecipeSpec()
    if spec.method == "magnitude":
        for name in ("inputs", "order", "sinks"):
            if getattr(given, name) is not None:
                yield f"recipe.{name}", "magnitude reads no inputs: this would have no effect"
        if given.allocation == "owl":
            yield (
                "recipe.allocation",
                "owl counts outliers of Wanda's score, and magnitude reads no inputs to score with",
            )
    if recipe.score != "sparsegpt" and given.damping != default.damping:
        yield "recipe.damping", f"belongs to SparseGPT's Hessian, and {spec.method} has none"
    if given.allocation != "owl" and given.outlier_threshold != default.outlier_threshold:
        yield "recipe.outlier_threshold", "belongs to allocation owl"
    ruled = given.allocation in ("owl", "early-sparser", "sensitivity")
    if not ruled and given.allocation_spread != default.allocation_spread:
        yield "recipe.allocation_spread", "belongs to an allocation rule, and none is asked for"
    if given.allocation != "uniform" and spec.pattern != "unstructured":
        yield (
            "recipe.allocation",
            f"pattern {spec.pattern} fixes every group's share: only unstructured can be allocated",
        )
    yield from _timestep_objections(spec, recipe)
    yield from trajectory_objections(spec.calibration)
    yield from control_objections(spec)
    baseline = spec.evaluation.baseline
    if baseline is not None and METHODS[baseline] == recipe:
        yield (
            "evaluation.baseline",
            f"{baseline} does what the job does: there is nothing to compare",
        )


class Watched(Protocol):
    """What both kinds of spec have."""

    @property
    def control(self) -> ModelRef | None: ...
    @property
    def calibration(self) -> Calibration: ...


def control_objections(spec: Watched) -> Iterator[tuple[str, str]]:
    if spec.control is not None and spec.calibration.source.endswith(".safetensors"):
        why = "a token file has the ids of one vocabulary: name a text that both models can read"
        yield "control", why


def _timestep_objections(spec: JobSpec, recipe: Recipe) -> Iterator[tuple[str, str]]:
    calibration = spec.calibration
    if recipe.sinks == "discount-transient" and len(calibration.timesteps) < 2:
        yield (
            "recipe.sinks",
            "discount-transient needs two timesteps: with one, every sink is stable",
        )
    if calibration.timestep_weights != "uniform" and not recipe.reads_timesteps:
        yield (
            "calibration.timestep_weights",
            "would have no effect: the recipe reads clean inputs and keeps sinks",
        )


def parse_spec(data: Mapping[str, Any]) -> JobSpec:
    """The spec in `data`.

    Raises:
        InvalidSpec: a field is missing, unknown or out of bounds; `fields` names each.
        NotAvailable: the spec is valid, and this version cannot carry it out.
    """
    try:
        spec = from_json(JobSpec, _with_implied_sparsity(data))
    except ValidationError as error:
        raise InvalidSpec("The job spec is not valid.", fields=field_errors(error)) from None
    against = [{"field": field, "message": why} for field, why in objections(spec)]
    if against:
        raise InvalidSpec("The job spec makes no sense.", fields=against)
    refuse_unavailable(spec)
    return spec


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """One {field, message} per offence, fields written as dotted paths."""
    return [
        {
            "field": ".".join(str(part) for part in e["loc"]) or "(body)",
            "message": e["msg"].removeprefix("Value error, "),
        }
        for e in error.errors()
    ]


def _with_implied_sparsity(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """N:M and an explicit allocation fix the sparsity: it may be left out, and N:M's must agree."""
    pattern, recipe = data.get("pattern"), data.get("recipe")
    pair = kept_per_group(pattern) if isinstance(pattern, str) else None
    if pair is None:
        shares = recipe.get("allocation") if isinstance(recipe, Mapping) else None
        numbers = isinstance(shares, list | tuple) and all(type(x) in (int, float) for x in shares)
        if not shares or not numbers or "sparsity" in data:
            return data
        return {**data, "sparsity": sum(shares) / len(shares)}
    kept, group = pair
    implied = 1 - kept / group
    given = data.get("sparsity", implied)
    if isinstance(given, int | float) and abs(given - implied) > 1e-9:
        message = f"{pattern} keeps {kept} of {group}, so sparsity is {implied:g}, not {given:g}"
        raise InvalidSpec(
            "The job spec is not valid.", fields=[{"field": "sparsity", "message": message}]
        )
    return {**data, "sparsity": given}


def refuse_unavailable(spec: JobSpec) -> None:
    """Raise NotAvailable for the first thing this version does not do: nothing is ever ignored."""
    _refuse(
        {
            f"pattern {spec.pattern}": spec.pattern.startswith("structured"),
            f"output.dtype {spec.output.dtype}": spec.output.dtype != "keep",
            "output.packed": spec.output.packed,
            "output.max_shard_bytes (the input's shards are kept)": spec.output.max_shard_bytes
            != Output().max_shard_bytes,
        }
    )
    refuse_sources(spec.model)
    if spec.control is not None:
        refuse_sources(spec.control)


def refuse_sources(model: ModelRef) -> None:
    """Raise NotAvailable for a model from where this version does not read."""
    _refuse(
        {
            "model.revision of a folder": model.revision != "main"
            and not model.source.startswith("hf://"),
        }
    )


def _refuse(refusals: Mapping[str, bool]) -> None:
    for what, refused in refusals.items():
        if refused:
            raise NotAvailable(what)
