"""How many sequences of what length a job will run, told from its spec and, of a token file, from
its header. Says what `core.calibration.prepare` will find. Free of torch."""

from dataclasses import dataclass, replace

from core.calibration.continuation import Continuation, continuation
from core.calibration.token_shapes import CLEAN, NOISED, token_shapes
from core.errors import BadTokenFile, InvalidSpec, TextTooShort
from core.models.families import Dimensions, Family
from core.models.headers import Header
from core.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Sequences:
    """What a model is watched and judged on."""

    samples: int
    timesteps: int
    positions: int
    evaluated: int
    """Sequences that each model is judged on, before they are noised."""
    recorded: bool = False
    warnings: tuple[str, ...] = ()
    writing: tuple[Continuation, ...] = ()
    """What the model is to write of them; empty where it does not."""


def sequences_of(
    spec: JobSpec, family: Family, dimensions: Dimensions, tokens: Header | None
) -> Sequences:
    """Of a job on a model of this family; `tokens` is the header of its token file, if it has one.

    Raises:
        BadTokenFile, TextTooShort: the token file cannot serve.
        InvalidSpec: an option does not fit the sequences, which may be shorter than the spec's.
    """
    found = _of_text(spec, dimensions) if tokens is None else _of_tokens(spec, dimensions, tokens)
    if spec.resolved_recipe.sinks == "discount-transient" and found.timesteps < 2:
        raise InvalidSpec(
            "discount-transient needs two timesteps, and the recorded trajectory has one.",
            remedy="Record more timesteps, or discount all sinks.",
        )
    if not found.recorded and spec.calibration.keep_prefix >= found.positions:
        raise InvalidSpec(
            f"calibration.keep_prefix {spec.calibration.keep_prefix} leaves nothing to corrupt in "
            f"sequences of {found.positions} positions.",
            remedy="Lower it.",
        )
    writing = None if found.recorded else continuation(spec.calibration, family, found.positions)
    if writing is None:
        return found
    warnings = found.warnings + writing.warnings
    return replace(found, warnings=warnings, writing=(writing,))


def _of_text(spec: JobSpec, dimensions: Dimensions) -> Sequences:
    asked, context = spec.calibration, dimensions.context
    warnings: tuple[str, ...] = ()
    if asked.sequence_length > context:
        wanted = f"calibration.sequence_length {asked.sequence_length}"
        warnings = (f"{wanted} exceeds the model's context: {context} used",)
    positions = min(asked.sequence_length, context)
    evaluated = spec.evaluation.samples
    return Sequences(asked.samples, len(asked.timesteps), positions, evaluated, warnings=warnings)


def _of_tokens(spec: JobSpec, dimensions: Dimensions, tokens: Header) -> Sequences:
    shapes, asked = token_shapes("the token file", tokens), spec.calibration
    rows, length = shapes[CLEAN]
    if rows < asked.samples:
        raise TextTooShort("token file", rows * length, asked.samples * length)
    if length > dimensions.context:
        raise BadTokenFile(
            f"rows of {length} tokens exceed the model's context of {dimensions.context}.",
            remedy="Cut them, or name a model with a longer context.",
        )
    wanted = spec.evaluation.samples
    spare = min(rows - asked.samples, wanted)
    evaluated = spare if spare >= min(2, wanted) else min(rows, wanted)
    recorded = NOISED in shapes
    timesteps = shapes[NOISED][1] if recorded else len(asked.timesteps)
    return Sequences(asked.samples, timesteps, length, evaluated, recorded)
