"""The attention of a model on its trajectories as it comes in, group by group of sequences."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from core.calibration.noise import Trajectories
from core.models.families import Dimensions
from core.sinks.full_file import FullFile, Shapes
from core.sinks.kept import kept_samples
from core.sinks.totals import Received, SinkTotals
from core.spec import Sinks


class SinkWatch:
    """What is known of the sinks once so many sequences have come.

    Of every sequence its mass summed over blocks is held, which discounts are computed from; all else is
    of one size however many samples there are: totals, the mass by block of the first samples, and the
    sequences of the one sample of which some are still to come.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        sinks: Sinks,
        dimensions: Dimensions,
        device: torch.device,
        full: FullFile | None = None,
    ) -> None:
        """`full` takes what is not held, of the shapes of `full_shapes`."""
        samples, self._timesteps, positions = trajectories.noised.shape
        blocks, heads = dimensions.blocks, dimensions.heads if sinks.per_head else None
        self._shapes = row_shapes(dimensions, positions, sinks)
        kept = kept_samples(samples, self._timesteps, blocks, positions)
        self._trajectories, self._sinks, self._device = trajectories, sinks, device
        self.mass = torch.empty(samples * self._timesteps, positions)
        """(sequences, positions) float32 on the host, summed over blocks, heads and queries."""
        self.kept = torch.empty(kept * self._timesteps, blocks, positions)
        """(sequences, blocks, positions) float32 on the host, of the first samples."""
        self.totals = SinkTotals.empty(self._timesteps, blocks, heads)
        self._waiting: Received | None = None
        self._done = 0
        self._full = full
        if full is not None:
            _write_facts(full, trajectories)

    def add(self, received: Received) -> None:
        """The sequences that come next."""
        part = slice(self._done, self._done + len(received))
        self.mass[part] = received.total.cpu()
        kept = self.kept[part]
        kept.copy_(received.mass[: len(kept)])
        if self._full is not None:
            for name, values in _written(received).items():
                self._full.write(name, self._done * values[0].numel(), values)
        self._done = part.stop
        waiting = received if self._waiting is None else self._waiting.then(received)
        steps = self._timesteps
        while len(waiting) >= steps:
            self._complete(waiting[:steps])
            waiting = waiting[steps:]
        # A copy, or the whole group would stay in memory for the sake of a part.
        self._waiting = waiting.each(torch.clone) if len(waiting) else None

    def _complete(self, sample: Received) -> None:
        at, watched = self.totals.samples, self._trajectories
        present = None if watched.present is None else watched.present[at]
        one = SinkTotals.of(sample, watched.masked[at], self._sinks, present)
        self.totals = self.totals.merge(one)

    def rows(self, begin: int, end: int) -> dict[str, Tensor]:
        """What is held, or written, of these sequences alone."""
        found = {"mass": self.mass[begin:end]}
        if begin < len(self.kept):
            found["kept"] = self.kept[begin:end]
        if self._full is not None:
            for name, shape in self._shapes.items():
                each = prod(shape)
                values = self._full.read(name, begin * each, (end - begin) * each)
                found[f"full.{name}"] = values.view(end - begin, *shape)
        return found

    def put_rows(self, begin: int, end: int, tensor: Callable[[str], Tensor]) -> None:
        """What `rows` found in an earlier run."""
        self.mass[begin:end] = tensor("mass")
        if begin < len(self.kept):
            self.kept[begin:end] = tensor("kept")
        if self._full is not None:
            for name, shape in self._shapes.items():
                self._full.write(name, begin * prod(shape), tensor(f"full.{name}"))

    def sums(self) -> dict[str, Tensor]:
        """All that is neither of one sequence nor written."""
        found = {f"totals.{name}": values for name, values in self.totals.tensors().items()}
        if self._waiting is not None:
            waiting = self._waiting.each(Tensor.cpu).named()
            found |= {f"waiting.{name}": values for name, values in waiting.items()}
        return found

    def put_sums(self, done: int, tensor: Callable[[str], Tensor]) -> None:
        """What `sums` found in an earlier run, when `done` sequences had come."""
        self.totals = self.totals.from_tensors(lambda name: tensor(f"totals.{name}"))
        self._done = done
        if done % self._timesteps:
            names = ["total", *self._shapes]
            waiting = {name: tensor(f"waiting.{name}").to(self._device) for name in names}
            self._waiting = Received(**waiting)

    def row_bytes(self) -> int:
        """Of one sequence in `rows`, at most."""
        written = 0 if self._full is None else sum(map(prod, self._shapes.values()))
        return 4 * (self.mass.shape[1] + prod(self.kept.shape[1:]) + written)


def row_shapes(dimensions: Dimensions, positions: int, sinks: Sinks) -> dict[str, tuple[int, ...]]:
    """Of one sequence of a `Received`, but for its total."""
    blocks = dimensions.blocks
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mass", "value_norm"), (blocks, positions))
    if sinks.per_head:
        shapes["head_mass"] = (blocks, dimensions.heads, positions)
        shapes["head_value_norm"] = (blocks, dimensions.kv_heads, positions)
    return shapes


def full_shapes(trajectories: Trajectories, dimensions: Dimensions, sinks: Sinks) -> Shapes:
    """Of the file with everything: n samples, t timesteps, L blocks, H heads, K key-value heads, S
    positions. mass and value_norm (n, t, L, S), head_mass (n, t, L, H, S) and head_value_norm (n, t,
    L, K, S) float32; timesteps (t,) int32; masked and, where not all are, present (n, t, S) uint8."""
    samples, timesteps, positions = trajectories.noised.shape
    rows = row_shapes(dimensions, positions, sinks)
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        name: (torch.float32, (samples, timesteps, *shape)) for name, shape in rows.items()
    }
    found["timesteps"] = torch.int32, (timesteps,)
    found["masked"] = torch.uint8, (samples, timesteps, positions)
    if trajectories.present is not None:
        found["present"] = found["masked"]
    return found


def _write_facts(full: FullFile, trajectories: Trajectories) -> None:
    """What is known before anything has been watched."""
    full.write("timesteps", 0, torch.tensor(trajectories.timesteps, dtype=torch.int32))
    flags = {"masked": trajectories.masked, "present": trajectories.present}
    for name, values in flags.items():
        for n, sample in enumerate([] if values is None else values):
            full.write(name, n * sample.numel(), sample.to(torch.uint8))


def _written(received: Received) -> dict[str, Tensor]:
    return {name: values for name, values in received.named().items() if name != "total"}
