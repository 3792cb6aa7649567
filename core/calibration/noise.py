"""The forward process: which tokens are corrupted at which timestep, and by what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from core.calibration_spec import mask_rate

ProcessName = Literal["llada", "dream", "uniform"]


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Calibration sequences beside their noised versions.

    Everything lies on the host, clean as (samples, positions) int64, noised as (samples, timesteps,
    positions) int64; the timesteps of a sample are in order of growing noise.
    """

    clean: Tensor
    noised: Tensor
    masked: Tensor
    """(samples, timesteps, positions) bool: which positions were corrupted."""
    rates: Tensor
    """(samples, timesteps) float32: the probability with which each position was corrupted."""
    weights: Tensor
    """(samples, timesteps) float32: λ, what the timestep counts for in statistics."""
    timesteps: tuple[int, ...]
    """The t of each noised version, 0 for the clean sequence itself."""
    present: Tensor | None = None
    """(samples, timesteps, positions) bool: positions that exist yet, the first of each sequence; None
    where all do. No position that exists sees one that does not."""

    @property
    def lengths(self) -> Tensor | None:
        """(samples, timesteps) int64: how many positions exist; None where all do."""
        return None if self.present is None else self.present.sum(-1)

    @classmethod
    def recorded(
        cls,
        clean: Tensor,
        noised: Tensor,
        timesteps: tuple[int, ...],
        mask_id: int | None,
        lengths: Tensor | None = None,
    ) -> "Trajectories":
        """States of sequences as they were met; rates are the shares that are masked, or that differ
        from the clean sequence where there is no mask token. lengths (samples, timesteps)."""
        masked = noised != clean[:, None] if mask_id is None else noised == mask_id
        rates = masked.float().mean(-1)
        present = None
        if lengths is not None and int(lengths.min()) < noised.shape[-1]:
            present = torch.arange(noised.shape[-1]) < lengths[..., None]
        return cls(clean, noised, masked, rates, torch.ones_like(rates), timesteps, present)

    def with_clean(self) -> "Trajectories":
        """The same with the clean sequences as a first timestep, t = 0, which corrupts nothing."""
        nothing = torch.zeros_like(self.clean, dtype=torch.bool)[:, None]
        return Trajectories(
            clean=self.clean,
            noised=torch.cat([self.clean[:, None], self.noised], 1),
            masked=torch.cat([nothing, self.masked], 1),
            rates=torch.nn.functional.pad(self.rates, (1, 0), value=0.0),
            weights=torch.nn.functional.pad(self.weights, (1, 0), value=1.0),
            timesteps=(0, *self.timesteps),
            present=(
                None
                if self.present is None
                else torch.nn.functional.pad(self.present, (0, 0, 1, 0), value=True)
            ),
        )

    def weighted(self, asked: str | tuple[float, ...]) -> "Trajectories":
        """The same under other timestep weights: `uniform`, `inverse-rate` (λ = 1/p, the weight of
        a timestep in the NELBO; rates must be positive), or one number for each timestep."""
        if asked == "inverse-rate":
            return replace(self, weights=1 / self.rates)
        if asked == "uniform":
            return replace(self, weights=torch.ones_like(self.rates))
        assert not isinstance(asked, str)
        return replace(self, weights=torch.tensor(asked).expand(len(self.clean), -1))


@dataclass(frozen=True, slots=True)
class Noise:
    """What a forward process is asked for. Masking needs `mask_token`, replacing `vocabulary`."""

    process: ProcessName
    timesteps: tuple[int, ...]
    steps: int
    eps: float
    mask_token: int | None = None
    vocabulary: int | None = None
    stratified: bool = False
    keep_prefix: int = 0
    max_rate: float = 1.0


def fixed_rates(noise: Noise, rng: Generator) -> Tensor:  # noqa: ARG001 - a `Schedule`
    """p_t of every timestep, (timesteps,). LLaDA's process; draws nothing."""
    return torch.tensor([mask_rate(t, noise.steps, noise.eps) for t in noise.timesteps])


def stratified_rates(noise: Noise, rng: Generator) -> Tensor:
    """One rate, uniform, in each of equal strata of [ε, max_rate], (timesteps,): since p is linear
    in t, that is one uniform t in each stratum. Draws rand(1, timesteps)."""
    count = len(noise.timesteps)
    drawn = torch.rand(1, count, generator=rng)[0]
    return noise.eps + (noise.max_rate - noise.eps) * (torch.arange(count) + drawn) / count


def shifted_rates(noise: Noise, rng: Generator) -> Tensor:
    """p_k = (u0 + k/K) mod 1 over K timesteps, ascending, then (1 − ε)·p + ε, scaled to max_rate.

    Dream's process shares u0 over the samples of a batch, p_b = (u0 + b/B) mod 1; here it is shared
    over the timesteps of a sample, so that no sample depends on how many others there are.
    Draws rand(1, 1).
    """
    count = len(noise.timesteps)
    shift = torch.rand(1, 1, generator=rng)[0]
    even = ((shift + torch.arange(count) / count) % 1).sort().values
    return noise.max_rate * ((1 - noise.eps) * even + noise.eps)


def mask(ids: Tensor, hit: Tensor, noise: Noise, rng: Generator) -> Tensor:  # noqa: ARG001 - a `Kernel`
    """The mask token where `hit`. Absorbing kernel; draws nothing."""
    assert noise.mask_token is not None
    return ids.masked_fill(hit, noise.mask_token)


def substitute(ids: Tensor, hit: Tensor, noise: Noise, rng: Generator) -> Tensor:
    """Any token of the vocabulary where `hit`, the same one included. The uniform kernel of D3PM,
    Austin et al. 2021, arXiv 2107.03006, §3.1. Draws randint(1, positions)."""
    assert noise.vocabulary is not None
    drawn = torch.randint(noise.vocabulary, (1, len(ids)), generator=rng)[0]
    return torch.where(hit, drawn, ids)


Schedule = Callable[[Noise, Generator], Tensor]
"""The rates of one sample, (timesteps,) float32, ascending."""
Kernel = Callable[[Tensor, Tensor, Noise, Generator], Tensor]
"""(positions,) ids, with those that were hit (positions,) bool corrupted."""


@dataclass(frozen=True, slots=True)
class Process:
    """One forward process: how much is corrupted, by what, and what never is."""

    rates: Schedule
    kernel: Kernel
    first: int
    """Positions at the beginning that are never corrupted."""
    last: int
    """Positions at the end that are never corrupted."""


PROCESSES: Mapping[ProcessName, Process] = {
    "llada": Process(fixed_rates, mask, first=0, last=0),
    "dream": Process(shifted_rates, mask, first=1, last=1),
    # The first position holds the start token, which every later one reads, and usually the sink.
    "uniform": Process(fixed_rates, substitute, first=1, last=0),
}
SCHEDULES: Mapping[tuple[ProcessName, bool], Schedule] = {
    (name, stratified): stratified_rates if stratified else process.rates
    for name, process in PROCESSES.items()
    for stratified in (False, True)
}
"""By process and whether its levels are stratified."""


def draw(clean: Tensor, noise: Noise, seed: int) -> Trajectories:
    """Noise every row of `clean` (samples, positions) at every timestep.

    All draws come from one generator, sample by sample, so that the first samples do not depend on
    how many follow: a sample's rates first (where its schedule draws), then timestep by timestep
    one rand(1, positions) and what the kernel draws.
    """
    rng = Generator().manual_seed(seed)
    process, rates_of = PROCESSES[noise.process], SCHEDULES[noise.process, noise.stratified]
    samples, positions = clean.shape
    kept = torch.zeros(positions, dtype=torch.bool)
    kept[: max(process.first, noise.keep_prefix)] = True
    kept[positions - process.last :] = True
    noised = clean[:, None].repeat(1, len(noise.timesteps), 1)
    masked = torch.zeros_like(noised, dtype=torch.bool)
    rates = torch.empty(samples, len(noise.timesteps))
    for n, ids in enumerate(clean):
        rates[n] = rates_of(noise, rng)
        for t, rate in enumerate(rates[n]):
            masked[n, t] = (torch.rand(1, positions, generator=rng)[0] < rate) & ~kept
            noised[n, t] = process.kernel(ids, masked[n, t], noise, rng)
    return Trajectories(clean, noised, masked, rates, torch.ones_like(rates), noise.timesteps)
