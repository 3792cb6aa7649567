"""How a model will go on with prompts: what each step of its family's sampler writes, and what that
takes. Free of torch, so that plans are made from it."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from core.calibration_spec import Calibration, Generation
from core.errors import InvalidSpec
from core.models.families import Family
from core.models.families.base import SamplerName
from core.trajectory_objections import OF_DREAM, OF_LLADA, UNWRITTEN, given

PROMPT_SHARE: Final = 4
"""Of a sequence, one in so many positions is its prompt, unless the spec says otherwise."""
OPTIONS: Final[dict[SamplerName, tuple[str, ...]]] = {
    "llada": ("prompt_length", "temperature", *OF_LLADA),
    "dream": ("prompt_length", "temperature", *OF_DREAM),
    "decoding": ("prompt_length", "temperature"),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of writing one sequence."""

    forwards: int
    """Times that something goes through the whole model."""
    lengths: tuple[tuple[int, int], ...]
    """(how many, positions): the whole sequences that these add up to."""


@dataclass(frozen=True, slots=True)
class Written:
    """Sequences that a model writes, as plans count them."""

    sequences: int
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Prompts of `prompt` positions become sequences of `positions`, in `steps` steps."""

    sampler: SamplerName
    prompt: int
    positions: int
    steps: int
    spans: tuple[tuple[int, int], ...]
    """(begin, end) of what is finished one after the other, with equally many steps for each."""
    later_unseen: bool = False
    """Whether spans do not exist until they are begun, for a model that never looks ahead."""
    options: Generation
    eps: float
    """Dream's last time."""

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Positions that each step writes; None where chance decides."""
        if self.sampler == "dream":
            if self.options.algorithm == "origin":
                return None
            return dream_counts(self.positions - self.prompt, self.steps, self.eps)
        each = self.steps // len(self.spans)
        return tuple(n for begin, end in self.spans for n in shared_out(end - begin, each))

    def reach(self, left: int) -> int:
        """Positions that exist when `left` steps are left; those behind are still to come."""
        done = self.steps - left
        if self.sampler == "decoding":
            assert self.counts is not None
            return self.prompt + sum(self.counts[:done])
        if not self.later_unseen or left == 0:
            return self.positions
        return self.spans[done // (self.steps // len(self.spans))][1]

    @property
    def cost(self) -> Cost:
        if self.sampler == "decoding":
            # What was read before is kept, so all steps together read the sequence once.
            return Cost(self.positions - self.prompt, ((1, self.positions - 1),))
        times = 2 if self.options.guidance else 1
        if not self.later_unseen:
            return Cost(times * self.steps, ((times * self.steps, self.positions),))
        each = times * self.steps // len(self.spans)
        return Cost(times * self.steps, tuple((each, end) for _, end in self.spans))

    @property
    def warnings(self) -> tuple[str, ...]:
        to_write = self.positions - self.prompt
        if self.steps <= to_write:
            return ()
        steps = f"calibration.diffusion_steps {self.steps}"
        return (
            f"{steps} are more than the {to_write} positions to write: some steps write nothing",
        )


def shared_out(positions: int, steps: int) -> list[int]:
    """Positions that each of `steps` writes: as equal as can be, the first ones more.
    LLaDA, arXiv 2502.09992, appendix."""
    least, more = divmod(positions, steps)
    return [least + (step < more) for step in range(steps)]


def dream_shares(steps: int, eps: float) -> list[float]:
    """1 − s/t for each step from time t to s, times equally spaced from 1 to ε: which share of the
    masks it uncovers. The last uncovers all.  Dream, arXiv 2508.15487."""
    times = [1 - step * (1 - eps) / steps for step in range(steps + 1)]
    return [*(1 - s / t for t, s in pairwise(times[:-1])), 1.0]


def dream_counts(masks: int, steps: int, eps: float) -> tuple[int, ...]:
    """Positions that each step writes, where its share is rounded down."""
    counts = []
    for share in dream_shares(steps, eps):
        counts.append(int(masks * share))
        masks -= counts[-1]
    return tuple(counts)


def continuation(calibration: Calibration, family: Family, positions: int) -> Continuation | None:
    """What the spec asks a model of `family` to write in sequences of `positions`, which may be
    shorter than the spec's; None where it asks for noise.

    Raises:
        InvalidSpec: the family writes otherwise, or lengths and steps do not go together.
    """
    if calibration.trajectory in UNWRITTEN:
        return None
    _check_family(calibration, family)
    asked = calibration.generation
    prompt = asked.prompt_length or max(1, positions // PROMPT_SHARE)
    if prompt >= positions:
        raise _refused(
            "generation.prompt_length",
            f"{prompt} leaves nothing to write in sequences of {positions} positions.",
            "Lower it.",
        )
    steps = calibration.diffusion_steps
    spans = _spans(asked.block_length, family, prompt, positions)
    if steps % len(spans):
        several = steps // len(spans) * len(spans) or len(spans)
        raise _refused(
            "diffusion_steps",
            f"{steps} steps cannot be shared equally by {len(spans)} blocks.",
            f"Take {several} steps, or another calibration.generation.block_length.",
        )
    found = continuing(family, prompt, positions, steps, asked, calibration.noise_eps, spans)
    _check_weights(calibration, found)
    return found


def continuing(
    family: Family,
    prompt: int,
    positions: int,
    steps: int,
    options: Generation,
    eps: float,
    spans: tuple[tuple[int, int], ...],
) -> Continuation:
    return Continuation(
        sampler=family.sampler,
        prompt=prompt,
        positions=positions,
        steps=steps,
        spans=spans,
        later_unseen=family.attention == "block-causal",
        options=options,
        eps=eps,
    )


def own_spans(family: Family, prompt: int, positions: int) -> tuple[tuple[int, int], ...]:
    """Everything at once; or block by block, as the family's models were trained. Those blocks begin
    with the sequence, so a prompt may end within one."""
    size = family.block_size
    if size is None:
        return ((prompt, positions),)
    begins = range(prompt // size * size, positions, size)
    return tuple((max(prompt, begin), min(begin + size, positions)) for begin in begins)


def _spans(
    length: int | None, family: Family, prompt: int, positions: int
) -> tuple[tuple[int, int], ...]:
    if length is None or length == family.block_size:
        return own_spans(family, prompt, positions)
    if family.block_size is not None:
        raise _refused(
            "generation.block_length",
            f"{family.name} writes blocks of {family.block_size}, not of {length}.",
            "Leave it out.",
        )
    if (positions - prompt) % length:
        raise _refused(
            "generation.block_length",
            f"the {positions - prompt} positions to write are no multiple of {length}.",
            "Take a divisor of them, or another prompt_length or sequence_length.",
        )
    return tuple((begin, begin + length) for begin in range(prompt, positions, length))


def _check_family(calibration: Calibration, family: Family) -> None:
    asked, decodes = calibration.trajectory, family.sampler == "decoding"
    if (asked == "decoding") != decodes:
        how = "writes from left to right" if decodes else "writes by denoising"
        other = "decoding" if decodes else "generation"
        why = f"{family.name} {how}: no {asked} can be watched."
        raise _refused("trajectory", why, f"Ask for {other}.")
    known = OPTIONS[family.sampler]
    unknown = tuple(name for name in Generation.model_fields if name not in known)
    surplus = given(calibration.generation, unknown)
    if surplus:
        raise _refused(
            f"generation.{surplus[0]}",
            f"the sampler of {family.name} has no {', '.join(surplus)}.",
            f"It has {', '.join(known)}.",
        )


def _check_weights(calibration: Calibration, found: Continuation) -> None:
    """A state in which everything is written already has no inverse of its rate."""
    if calibration.timestep_weights != "inverse-rate" or found.counts is None:
        return
    written = [0, *accumulate(found.counts)]
    for left in calibration.timesteps:
        if written[found.steps - left] == found.positions - found.prompt:
            raise _refused(
                "timestep_weights",
                f"with {left} steps left nothing is masked, which inverse-rate cannot weigh.",
                "Lower calibration.diffusion_steps, or give the weights as a list.",
            )


def _refused(field: str, why: str, remedy: str) -> InvalidSpec:
    name = f"calibration.{field}"
    fields = [{"field": name, "message": why}]
    return InvalidSpec(f"{name}: {why}", remedy=remedy, fields=fields)
