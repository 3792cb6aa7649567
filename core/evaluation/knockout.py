"""What sinks are worth to a model: its loss when attention to them is hidden, beside its loss when as
many random positions are."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from core.evaluation.bands import by_band
from core.evaluation.draws import BANDS
from core.evaluation.in_depth import CONDITIONS, PASSES, Condition
from core.evaluation.nelbo import NoisyTokens, Watch, judge
from core.models import attention
from core.models.decoder import Decoder
from core.sinks.scores import sink_set
from core.sinks.statistics import STABLE_ROUNDING
from core.spec import Sinks

PREFIXES = 8
"""Lengths at which a text that grows is looked at, as many as there are draws where it is noised."""


@dataclass(frozen=True, slots=True)
class KnockedOut:
    """A model's answers while some positions are hidden."""

    losses: Tensor
    """(samples,) float64, nats per token."""
    bands: Tensor
    """(samples, bands) float64, see `core.evaluation.bands.by_band`."""
    hidden: float
    """Positions of a sequence that were hidden, on average."""


@dataclass(frozen=True, slots=True)
class FoundSinks:
    """Sinks of sequences (copies, positions) bool: `every` one at the copy's timestep, and of these the
    ones that are `stable` over the sample's timesteps."""

    every: Tensor
    stable: Tensor

    @property
    def transient(self) -> Tensor:
        return self.every & ~self.stable


@torch.inference_mode()
def knock_out(
    decoder: Decoder, noisy: NoisyTokens, sinks: Sinks, *, seed: int, group: int, watch: Watch
) -> dict[Condition, KnockedOut]:
    """The loss of `noisy` under every condition. Sinks are found by the model's own attention mass,
    over all blocks, in the very sequences that are judged."""
    probe = _Probe(decoder, noisy.copies(), group, watch)
    lengths = () if noisy.noised else prefixes(noisy.clean.shape[1], sinks.threshold_std)
    found = sinks_of(probe.watched(lengths), noisy, sinks)
    ranks = random_ranks(found.every, max(CONDITIONS.values()), seed)
    results: dict[Condition, KnockedOut] = {}
    for condition, times in CONDITIONS.items():
        hidden = [hidden_in(condition, found, ranks[i]) for i in range(times)]
        table = torch.stack([probe.without(each) for each in hidden]).mean(0)
        by_draw = table.view(*noisy.rate.shape, 1 + BANDS)
        losses, quarters = by_draw[..., 0], by_draw[..., 1:]
        results[condition] = KnockedOut(
            losses=losses.mean(1),
            bands=by_band(noisy, losses.contiguous(), quarters),
            hidden=float(torch.stack(hidden).double().sum(-1).mean()),
        )
    return results


def sinks_of(mass: Tensor, noisy: NoisyTokens, sinks: Sinks) -> FoundSinks:
    """Sinks from the mass of all blocks: (copies, positions), or (samples, prefixes, positions) of a
    text that grows.

    Of noised sequences the timesteps are the sample's draws, and each has its own sinks. Of a growing
    text they are its prefixes, and what is a sink at any of them counts for the one sequence that is
    judged; the persistence of a position is over the prefixes that have it.
    """
    threshold, bound = sinks.threshold_std, sinks.stable_persistence - STABLE_ROUNDING
    if noisy.noised:
        samples, draws, positions = noisy.masked.shape
        at = sink_set(mass.view(samples, draws, positions).double(), threshold)
        lasting = at.double().mean(1, keepdim=True) >= bound
        return FoundSinks(at.flatten(0, 1), (at & lasting).flatten(0, 1))
    lengths = prefixes(mass.shape[-1], threshold)
    at = torch.zeros_like(mass, dtype=torch.bool)
    present = torch.zeros_like(at)
    for i, length in enumerate(lengths):
        at[:, i, :length] = sink_set(mass[:, i, :length].double(), threshold)
        present[:, i, :length] = True
    ever = at.any(1)
    return FoundSinks(ever, ever & (at.sum(1) / present.sum(1) >= bound))


def prefixes(positions: int, threshold: float) -> tuple[int, ...]:
    """Lengths of a growing text, evenly cut. Left out are those too short for any position to be
    `threshold` deviations above the mean, which takes more than threshold² + 1 positions."""
    lengths = sorted({-(-positions * (i + 1) // PREFIXES) for i in range(PREFIXES)})
    return tuple(n for n in lengths if n > threshold**2 + 1) or (positions,)


def random_ranks(sinks: Tensor, times: int, seed: int) -> Tensor:
    """Random orders of each row's positions, (times, rows, positions): the rank of each position, sinks
    last. The first n of an order are n random positions that are no sinks."""
    rng = Generator().manual_seed(seed)
    drawn = torch.rand(times, *sinks.shape, generator=rng)
    return drawn.masked_fill(sinks, 2.0).argsort(stable=True, dim=-1).argsort(-1)


def hidden_in(condition: Condition, found: FoundSinks, ranks: Tensor) -> Tensor:
    """What a condition hides, (copies, positions) bool; `ranks` is one order of `random_ranks`."""
    sets = {"all": found.every, "stable": found.stable, "transient": found.transient}
    if condition == "none":
        return torch.zeros_like(found.every)
    if condition in sets:
        return sets[condition]
    counted = sets[condition.removeprefix("random-")] if "-" in condition else found.every
    return (ranks < counted.sum(-1, keepdim=True)) & ~found.every


@dataclass(slots=True)
class _Probe:
    """One model on the same sequences again and again; what hides the same is judged once.

    Answers are tables (copies, 1 + bands): the loss, and cross-entropy by quarter of the text.
    """

    decoder: Decoder
    copies: NoisyTokens
    group: int
    watch: Watch
    known: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """What was hidden, and the answers."""

    def watched(self, lengths: tuple[int, ...]) -> Tensor:
        """Mass of all blocks while nothing is hidden, see `sinks_of`; the answers are kept."""
        pieces: list[Tensor] = []

        def see(block: int, mass: Tensor) -> None:
            if block == 0:
                pieces.append(mass.cpu())
            else:
                pieces[-1] += mass.cpu()

        with attention.watching_prefixes(see, lengths):
            answers = self._judged(self.copies, None, passes=0)
        self.known.append((torch.zeros_like(self.copies.masked[:, 0]), answers))
        return torch.cat(pieces)

    def without(self, hidden: Tensor) -> Tensor:
        """Answers with hidden (copies, positions) out of sight."""
        found = torch.empty_like(self.known[0][1])
        missing = torch.ones(len(hidden), dtype=torch.bool)
        for before, answers in self.known:
            same = missing & (before == hidden).all(-1)
            found[same] = answers[same]
            missing &= ~same
        if bool(missing.any()):
            some, unseen = self.copies.only(missing), hidden[missing]
            found[missing] = self._judged(some, unseen, passes=len(self.known))
            self.known.append((hidden, found))
        return found

    def _judged(self, some: NoisyTokens, hidden: Tensor | None, *, passes: int) -> Tensor:
        size = len(self.copies.clean)
        answer = judge(
            self.decoder,
            some,
            group=self.group,
            watch=lambda done, _: self.watch(passes * size + done, PASSES * size),
            hidden=hidden,
        )
        return torch.cat([answer.losses, answer.quarters.flatten(1)], 1)
