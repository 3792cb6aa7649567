"""The calibration section of the job contract: texts, sequences, noise. Free of torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TEXT_SCHEMES = ("builtin:", "s3://", "file:///", "hf://datasets/")


class Strict(BaseModel):
    """Nothing unknown, nothing that changes, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def known_scheme(schemes: tuple[str, ...]) -> Any:
    def check(source: str) -> str:
        if not source.startswith(schemes):
            raise ValueError(f"must start with one of {', '.join(schemes)}")
        if any(ord(c) < 32 for c in source):
            raise ValueError("must not contain control characters")
        return source

    return AfterValidator(check)


def mask_rate(timestep: float, steps: int, eps: float) -> float:
    """p_t = (1 − ε)·t/T + ε.  LLaDA, arXiv 2502.09992, §2.1."""
    return (1 - eps) * timestep / steps + eps


Trajectory = Literal["forward-noise", "generation", "decoding", "prefixes"]
Algorithm = Literal["origin", "maskgit-plus", "topk-margin", "entropy"]


class Generation(Strict):
    """How a model goes on with its prompts, where it is watched while it writes. Which of these a
    model's sampler knows depends on its family: docs/calibration.md."""

    prompt_length: Annotated[int, Field(ge=1, lt=131072)] | None = None
    """Positions at the beginning that are given; None is a quarter of the sequence."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    """0 takes the most likely token."""
    block_length: Annotated[int, Field(ge=1, lt=131072)] | None = None
    """LLaDA: positions that are finished before those after them are begun; None is all of them, or
    the block that the model was trained with."""
    remasking: Literal["low-confidence", "random"] = "low-confidence"
    """LLaDA: which of its predictions a step gives up again."""
    guidance: Annotated[float, Field(ge=0, le=100)] = 0.0
    """LLaDA: weight w of classifier-free guidance; 0 is none."""
    algorithm: Algorithm = "entropy"
    """Dream: which positions a step writes."""
    algorithm_temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Dream: 0 writes where the model is surest."""
    top_p: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Dream: only the likeliest tokens that make up this share are candidates."""
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Dream: only so many tokens are candidates."""


RATE_ROUNDING = 1e-9
"""A rate this close to `max_rate` is equal to it: 0.3 is not exactly representable."""


class Calibration(Strict):
    """What the model is watched on. Sequences are never longer than the model's own context."""

    source: Annotated[str, known_scheme(TEXT_SCHEMES), Field(min_length=1, max_length=1024)] = (
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
    trajectory: Trajectory = "forward-noise"
    """What the timesteps are: text under noise; what the model itself writes after a prompt (generation,
    decoding), `diffusion_steps` being the steps it takes and a timestep the steps that are left; or
    growing prefixes of the text, for models that write from left to right."""
    generation: Generation = Generation()

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
