"""The job contract: what a client may ask for. Free of torch; shared by api, client and workers."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from core.errors import InvalidSpec, NotAvailable

Method = Literal["magnitude", "wanda", "sink-wanda", "sparsegpt", "sink-sparsegpt"]
METHODS: tuple[Method, ...] = ("magnitude", "wanda", "sink-wanda", "sparsegpt", "sink-sparsegpt")
AVAILABLE_METHODS: tuple[Method, ...] = ("magnitude", "wanda", "sink-wanda")

MODEL_SCHEMES = ("hf://", "s3://", "file:///", "example:")
TEXT_SCHEMES = ("builtin:", "s3://", "file:///", "hf://datasets/")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _known_scheme(schemes: tuple[str, ...]) -> Any:
    def check(source: str) -> str:
        if not source.startswith(schemes):
            raise ValueError(f"must start with one of {', '.join(schemes)}")
        if any(ord(c) < 32 for c in source):
            raise ValueError("must not contain control characters")
        return source

    return AfterValidator(check)


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


class ModelRef(_Strict):
    """Where the dense checkpoint is. Revisions apply to hub sources only."""

    source: Annotated[str, _known_scheme(MODEL_SCHEMES), Field(min_length=1, max_length=1024)]
    revision: Annotated[str, Field(pattern=r"^[\w./-]{1,200}$")] = "main"


class Recipe(_Strict):
    """What separates the methods. What is left out comes from the method's row."""

    inputs: Literal["clean", "noised"] | None = None
    order: Literal["sequential", "one-shot"] | None = None
    sinks: Literal["keep", "discount-all", "discount-transient"] | None = None
    allocation: Literal["uniform", "owl", "early-sparser", "sensitivity"] = "uniform"


def mask_rate(timestep: float, steps: int, eps: float) -> float:
    """p_t = (1 − ε)·t/T + ε.  LLaDA, arXiv 2502.09992, §2.1."""
    return (1 - eps) * timestep / steps + eps


RATE_ROUNDING = 1e-9
"""A rate this close to `max_rate` is equal to it: 0.3 is not exactly representable."""


class Calibration(_Strict):
    """What the model is watched on. Sequences are never longer than the model's own context."""

    source: Annotated[str, _known_scheme(TEXT_SCHEMES), Field(min_length=1, max_length=1024)] = (
        "builtin:plain-text"
    )
    samples: Annotated[int, Field(ge=1, le=65536)] = 128
    sequence_length: Annotated[int, Field(ge=2, le=131072)] = 1024
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    diffusion_steps: Annotated[int, Field(ge=1, le=10000)] = 50
    sample_interval: Annotated[int, Field(ge=1, le=10000)] = 5
    noise_eps: Annotated[float, Field(gt=0, lt=1)] = 0.001
    stratified: bool = False
    """Draw each sample's noise levels, one in each of equal strata, instead of fixing them."""
    keep_prefix: Annotated[int, Field(ge=0, lt=131072)] = 0
    """Positions at the beginning that are never corrupted."""
    max_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Timesteps that corrupt a larger share of positions are left out."""
    include_clean: bool = False
    """Whether the clean sequence is one more timestep, t = 0, the first."""
    timestep_weights: (
        Literal["uniform", "inverse-rate"]
        | Annotated[
            tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1, max_length=10000)
        ]
    ) = "uniform"
    """What a timestep counts for in statistics; `inverse-rate` is 1/p, as the NELBO weights it."""

    @model_validator(mode="after")
    def _has_a_timestep(self) -> Self:
        if self.sample_interval > self.diffusion_steps:
            raise ValueError(
                "sample_interval is larger than diffusion_steps: no timestep would be sampled"
            )
        if not self.timesteps:
            lowest = mask_rate(self.sample_interval, self.diffusion_steps, self.noise_eps)
            raise ValueError(
                f"max_rate {self.max_rate:g} leaves no timestep: the first one already corrupts "
                f"{lowest:g} of all positions; raise it, lower sample_interval, or set include_clean"
            )
        return self

    @model_validator(mode="after")
    def _leaves_something_to_corrupt(self) -> Self:
        if self.keep_prefix >= self.sequence_length:
            raise ValueError(
                f"keep_prefix {self.keep_prefix} must be smaller than sequence_length "
                f"{self.sequence_length}: nothing would be corrupted"
            )
        return self

    @model_validator(mode="after")
    def _has_usable_weights(self) -> Self:
        weights = self.timestep_weights
        if weights == "inverse-rate" and self.include_clean:
            raise ValueError(
                "timestep_weights inverse-rate cannot weigh the clean sequence, whose rate is 0; "
                "give the weights as a list, or leave include_clean out"
            )
        if isinstance(weights, str):
            return self
        if not any(weights):
            raise ValueError("timestep_weights are all 0: nothing would be measured")
        # How many timesteps a token file recorded is known only when it is read.
        if len(weights) != len(self.timesteps) and not self.source.endswith(".safetensors"):
            raise ValueError(
                f"timestep_weights has {len(weights)} values for {len(self.timesteps)} timesteps: "
                f"{', '.join(map(str, self.timesteps))}"
            )
        return self

    @property
    def noisy_timesteps(self) -> tuple[int, ...]:
        """interval, 2·interval, …, up to diffusion_steps, as far as their rate is allowed."""
        highest = self.max_rate + RATE_ROUNDING
        sampled = range(self.sample_interval, self.diffusion_steps + 1, self.sample_interval)
        return tuple(
            t for t in sampled if mask_rate(t, self.diffusion_steps, self.noise_eps) <= highest
        )

    @property
    def timesteps(self) -> tuple[int, ...]:
        """All timesteps of a trajectory, in order of growing noise; 0 is the clean sequence."""
        return (0,) * self.include_clean + self.noisy_timesteps


class Sinks(_Strict):
    """Soft-sink and sink-set parameters (arXiv 2602.17664, §3 and §4)."""

    threshold_std: Annotated[float, Field(ge=0, le=100)] = 2.0
    sharpness: Annotated[float, Field(gt=0, le=1e6)] = 5.0
    stable_persistence: Annotated[float, Field(gt=0, le=1)] = 0.8


class Evaluation(_Strict):
    """What is measured on dense and pruned alike."""

    nelbo: bool = True
    agreement: bool = True
    speed: bool = True
    samples: Annotated[int, Field(ge=2, le=65536)] = 32
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1


class Output(_Strict):
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    packed: bool = False
    max_shard_bytes: Annotated[int, Field(ge=1_000_000, le=10**12)] = 2_000_000_000


class Webhook(_Strict):
    url: Annotated[str, Field(pattern=r"^https://", max_length=2048)]
    events: Annotated[
        tuple[Literal["succeeded", "failed", "cancelled"], ...], Field(min_length=1)
    ] = ("succeeded", "failed")


MetadataKey = Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
MetadataValue = Annotated[str, Field(max_length=512)]


class JobSpec(_Strict):
    """One immutable pruning request. Only `model` and `sparsity` must be given."""

    model: ModelRef
    method: Method = "sink-wanda"
    sparsity: Annotated[float, Field(gt=0, lt=1)]
    pattern: Pattern = "unstructured"
    recipe: Recipe = Recipe()
    calibration: Calibration = Calibration()
    sinks: Sinks = Sinks()
    evaluation: Evaluation = Evaluation()
    output: Output = Output()
    webhook: Webhook | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = {}
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


def parse_spec(data: Mapping[str, Any]) -> JobSpec:
    """The spec in `data`.

    Raises:
        InvalidSpec: a field is missing, unknown or out of bounds; `fields` names each.
        NotAvailable: the spec is valid, and this version cannot carry it out.
    """
    try:
        spec = JobSpec.model_validate(_with_sparsity_of_pattern(data))
    except ValidationError as error:
        raise InvalidSpec("The job spec is not valid.", fields=field_errors(error)) from None
    refuse_unavailable(spec)
    return spec


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """One {field, message} per offence, fields written as dotted paths."""
    return [
        {"field": ".".join(str(part) for part in e["loc"]) or "(body)", "message": e["msg"]}
        for e in error.errors()
    ]


def _with_sparsity_of_pattern(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """N:M fixes the sparsity, so it may be left out there and must not contradict."""
    pattern = data.get("pattern")
    pair = kept_per_group(pattern) if isinstance(pattern, str) else None
    if pair is None:
        return data
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
    recipe, calibration = spec.recipe, spec.calibration
    refusals = {
        f"method {spec.method}": spec.method not in AVAILABLE_METHODS,
        f"pattern {spec.pattern}": spec.pattern != "unstructured",
        f"recipe.allocation {recipe.allocation}": recipe.allocation != "uniform",
        "recipe overrides (inputs, order, sinks)": not _is_methods_own(spec),
        f"output.dtype {spec.output.dtype}": spec.output.dtype != "keep",
        "output.packed": spec.output.packed,
        "output.max_shard_bytes (the input's shards are kept)": spec.output.max_shard_bytes
        != Output().max_shard_bytes,
        "model.revision of a folder": spec.model.revision != "main",
        "webhook": spec.webhook is not None,
        f"model source {spec.model.source.split(':')[0]}": spec.model.source.startswith(
            ("hf://", "s3://")
        ),
        "calibration source s3": calibration.source.startswith("s3://"),
    }
    for what, refused in refusals.items():
        if refused:
            raise NotAvailable(what)


METHOD_ROWS: dict[Method, tuple[str | None, str | None, str | None]] = {
    "magnitude": (None, None, None),
    "wanda": ("clean", "sequential", "keep"),
    "sink-wanda": ("noised", "one-shot", "discount-all"),
    "sparsegpt": ("clean", "sequential", "keep"),
    "sink-sparsegpt": ("clean", "sequential", "discount-all"),
}


def _is_methods_own(spec: JobSpec) -> bool:
    given = (spec.recipe.inputs, spec.recipe.order, spec.recipe.sinks)
    own = METHOD_ROWS[spec.method]
    return all(g is None or g == o for g, o in zip(given, own, strict=True))
