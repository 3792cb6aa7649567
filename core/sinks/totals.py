"""Sink statistics over samples that come one after the other and are not kept."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from core.sinks.moments import Moments
from core.sinks.statistics import STATISTICS, SinkDynamics, persistence_counts
from core.spec import Sinks

PARTS: Final = ("count", "mean", "squares")


@dataclass(frozen=True, slots=True)
class Received:
    """What the attention of some sequences showed, on the device they ran on; all float32."""

    total: Tensor
    """(sequences, positions): mass, summed over blocks in their order."""
    mass: Tensor
    """(sequences, blocks, positions): summed over heads and queries."""
    value_norm: Tensor
    """(sequences, blocks, positions): ‖v_j‖, mean over heads."""
    head_mass: Tensor | None = None
    """(sequences, blocks, heads, positions)."""
    head_value_norm: Tensor | None = None
    """(sequences, blocks, key-value heads, positions)."""

    def __len__(self) -> int:
        return len(self.total)

    def __getitem__(self, some: slice) -> "Received":
        return self.each(lambda values: values[some])

    def each(self, change: Callable[[Tensor], Tensor]) -> "Received":
        return Received(**{name: change(values) for name, values in self.named().items()})

    def named(self) -> dict[str, Tensor]:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in found.items() if values is not None}

    def then(self, others: "Received") -> "Received":
        """Both, one after the other."""
        after = others.named()
        return Received(**{n: torch.cat([v, after[n]]) for n, v in self.named().items()})


@dataclass(frozen=True, slots=True)
class SinkTotals:
    """Over any number of samples; its size depends on timesteps, blocks and heads alone.

    Statistics are those of `STATISTICS`, each sample's taken by itself: the same bits come out however
    samples were grouped, as long as they come in the same order. `merge` is exact but for rounding.
    """

    samples: int
    blocks: Moments
    """(1 + blocks, statistics): of all blocks together, then of each."""
    heads: Moments | None
    """(blocks, heads, statistics)."""
    persistence: Tensor
    """(timesteps,) int64: positions that are a sink at so many timesteps, of all blocks together."""
    without_sink: int
    """Timesteps without a sink, of all blocks together."""

    @classmethod
    def empty(cls, timesteps: int, blocks: int, heads: int | None) -> "SinkTotals":
        """`heads` is None where they are not told apart."""
        width = len(STATISTICS)
        by_head = None if heads is None else Moments.empty((blocks, heads, width))
        steps = torch.zeros(timesteps, dtype=torch.int64)
        return cls(0, Moments.empty((1 + blocks, width)), by_head, steps, 0)

    @classmethod
    def of(
        cls, sample: Received, masked: Tensor, sinks: Sinks, present: Tensor | None = None
    ) -> "SinkTotals":
        """Of one sample, whose sequences are its timesteps; masked and present (timesteps,
        positions) bool."""
        device = sample.total.device
        masked = masked.to(device)
        present = None if present is None else present.to(device)

        def taken(mass: Tensor, norms: Tensor) -> tuple[SinkDynamics, Moments]:
            """Of (timesteps, …, positions), each."""
            dynamics = SinkDynamics.of(mass.movedim(0, -2), sinks.threshold_std, present)
            norms = norms.movedim(0, -2)
            found = dynamics.all_statistics(masked, norms, sinks.stable_persistence)
            return dynamics, Moments.of(found)

        norm = sample.value_norm.double()
        dynamics, blocks = taken(
            torch.cat([sample.total[:, None], sample.mass], 1),
            torch.cat([norm.mean(1, keepdim=True), norm], 1),
        )
        every = dynamics[0]
        return cls(
            samples=1,
            blocks=blocks,
            heads=_by_head(sample, lambda mass, norms: taken(mass, norms)[1]),
            persistence=persistence_counts(every),
            without_sink=every.timesteps_without_sink(),
        )

    def merge(self, other: "SinkTotals") -> "SinkTotals":
        """Of the samples of both."""
        heads = None
        if self.heads is not None and other.heads is not None:
            heads = self.heads.merge(other.heads)
        return SinkTotals(
            self.samples + other.samples,
            self.blocks.merge(other.blocks),
            heads,
            self.persistence + other.persistence,
            self.without_sink + other.without_sink,
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for `from_tensors`."""
        found = {
            "counts": torch.tensor([self.samples, self.without_sink]),
            "persistence": self.persistence,
        }
        for name, moments in (("blocks", self.blocks), ("heads", self.heads)):
            if moments is not None:
                found |= {f"{name}.{part}": getattr(moments, part) for part in PARTS}
        return found

    def from_tensors(self, tensor: Callable[[str], Tensor]) -> "SinkTotals":
        """Totals of the same shapes as these, from what `tensors` had."""
        blocks, heads = (
            None if shaped is None else Moments(*(tensor(f"{name}.{part}") for part in PARTS))
            for name, shaped in (("blocks", self.blocks), ("heads", self.heads))
        )
        assert blocks is not None
        samples, without_sink = tensor("counts").tolist()
        return SinkTotals(samples, blocks, heads, tensor("persistence"), without_sink)


def _by_head(sample: Received, statistics: Callable[[Tensor, Tensor], Moments]) -> Moments | None:
    """Block by block, so that what is taken in float64 is never more than one block's. Query heads
    that share a key-value head share the length of its values."""
    if sample.head_mass is None or sample.head_value_norm is None:
        return None
    shared = sample.head_mass.shape[2] // sample.head_value_norm.shape[2]
    found = [
        statistics(sample.head_mass[:, block], norms.repeat_interleave(shared, 1))
        for block, norms in enumerate(sample.head_value_norm.unbind(1))
    ]
    return Moments(*(torch.stack([getattr(each, part) for each in found]) for part in PARTS))
