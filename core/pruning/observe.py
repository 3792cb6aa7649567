"""Watching the dense model: attention mass on every (sample, timestep), and statistics of inputs.

A position's discount is known only when every block has run, and discounted norms need it. So where
the budget allows, the inputs of a group's matrices are held until then, and one forward per (sample,
timestep) serves both; else the sequences run again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from core.calibration.noise import Trajectories
from core.models import attention
from core.models.decoder import Decoder, Matrix
from core.pruning.statistics import Statistic, statistic_of
from core.recipes import Recipe, SinkUse
from core.sinks.full_file import FullFile
from core.sinks.scores import discount
from core.sinks.totals import Received, SinkTotals
from core.sinks.watch import SinkWatch
from core.spec import Sinks

Watch = Callable[[int, int], None]
"""Called with (sequences done, sequences in all)."""

See = Callable[[str, Tensor, Tensor | None], None]
"""Called with what an input is called, its values, and the flat indices of the tokens they belong to
where only some reached the matrix."""

Held = dict[str, tuple[Tensor, Tensor | None]]


@dataclass
class Observation:
    """What watching the dense model on its trajectories yields."""

    mass: Tensor
    """(samples, timesteps, positions) float32 on the host, summed over blocks, heads and queries."""
    kept: Tensor
    """(first samples, timesteps, blocks, positions) float32 on the host: see `kept_samples`."""
    totals: SinkTotals
    """Over all samples."""
    statistics: dict[str, Statistic] = field(default_factory=dict)
    """By what an input is called; empty where they are taken later."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Sequences whose inputs a recipe takes statistics of.

    ids (sequences, positions) int64, weight (sequences, positions) float32, what a position counts for.
    """

    ids: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, recipe: Recipe, trajectories: Trajectories, mass: Tensor, sinks: Sinks
    ) -> "Watched":
        """From the attention mass (samples, timesteps, positions) of the dense model.

        Clean sequences discount a position by its mean over timesteps, weighted like them. A timestep's
        weight λ multiplies norms, and sums of squares, as Hessians are, by its root. Positions that do
        not exist yet count for nothing; in clean sequences all exist, and what no timestep saw counts
        in full.
        """
        assert recipe.sinks is not None
        present, timesteps = trajectories.present, trajectories.weights[..., None]
        kept = discount(mass, recipe.sinks, sinks, present)
        if recipe.inputs == "clean":
            seen = timesteps if present is None else timesteps * present
            mean = (timesteps * kept).sum(1) / seen.sum(1)
            return cls(trajectories.clean, mean if present is None else mean.nan_to_num(1.0))
        weight = timesteps if recipe.score == "wanda" else timesteps.sqrt()
        return cls(trajectories.noised.flatten(0, 1), (weight * kept).flatten(0, 1))


def input_owners(matrices: list[Matrix]) -> dict[str, list[Matrix]]:
    """Matrices grouped by the input they share, under its name."""
    groups: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.source, []).append(matrix)
    return groups


@contextmanager
def watching_inputs(matrices: list[Matrix], see: See) -> Iterator[None]:
    """Call `see` before each matrix multiplies; once for inputs that several share."""

    def pre_hook(source: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        see(source, arguments[0], getattr(module, "tokens", None))

    with ExitStack() as hooks:
        for source, sharers in input_owners(matrices).items():
            handle = sharers[0].linear.register_forward_pre_hook(partial(pre_hook, source))
            hooks.callback(handle.remove)
        yield


class Collector:
    """Statistics of one kind, by input, as they come in from `watching_inputs`."""

    def __init__(self, kind: type[Statistic]) -> None:
        self._kind = kind
        self._found: dict[str, Statistic] = {}
        self._weight = torch.empty(0, 0)
        self.sequences = 0

    def begin(self, weight: Tensor) -> None:
        """What comes next are inputs of sequences whose positions count `weight`."""
        self._weight = weight
        self.sequences += len(weight)

    def see(self, source: str, inputs: Tensor, tokens: Tensor | None) -> None:
        if source not in self._found:
            self._found[source] = self._kind.empty(inputs.shape[-1], inputs.device)
        self._found[source].update(inputs, self._weight, tokens)

    def put_back(self, source: str, total: Tensor, tokens: int) -> None:
        """The sum over `sequences` that were seen by an earlier run."""
        self._found[source] = self._kind(total, tokens=tokens)

    def statistics(self) -> dict[str, Statistic]:
        """By what an input is called; inputs that no token reached are missing.

        An expert that a group's tokens did not reach was still shown the group: all statistics are
        over all sequences, however these were grouped.
        """
        for statistic in self._found.values():
            statistic.sequences = self.sequences
        return self._found


class Passage(Protocol):
    """How far a pass over sequences has come, where that is kept and found again."""

    def begin(self, sinks: SinkWatch | None, collector: Collector | None) -> int:
        """Fill in what an earlier run found; of how many sequences."""

    def passed(
        self, done: int, of: int, sinks: SinkWatch | None, collector: Collector | None
    ) -> None:
        """So many sequences are done: rows of `sinks` up to there are final, and sums are theirs."""


class FromTheStart:
    """A `Passage` that keeps nothing."""

    def begin(self, sinks: SinkWatch | None, collector: Collector | None) -> int:  # noqa: ARG002 - the protocol's
        return 0

    def passed(
        self, done: int, of: int, sinks: SinkWatch | None, collector: Collector | None
    ) -> None:
        """Nothing is kept."""


FROM_THE_START = FromTheStart()


@torch.inference_mode()
def observe(
    decoder: Decoder,
    trajectories: Trajectories,
    sinks: Sinks,
    *,
    held_for: Recipe | None,
    group: int,
    watch: Watch,
    passage: Passage = FROM_THE_START,
    full: FullFile | None = None,
) -> Observation:
    """Run the dense model over every (sample, timestep), `group` sequences at a time.

    With `held_for`, inputs are held and the recipe's statistics taken in the same forwards; where it
    discounts transient sinks, `group` must be whole samples, since persistence needs all timesteps.
    `full` gets all that is seen, of `full_shapes`.
    """
    samples, timesteps, positions = trajectories.noised.shape
    sequences = trajectories.noised.flatten(0, 1)
    weights, present = trajectories.weights.flatten(), _flat(trajectories.present)
    seen = SinkWatch(trajectories, sinks, decoder.dimensions, decoder.device, full)
    collector = Collector(statistic_of(held_for)) if held_for else None
    for begin in range(passage.begin(seen, collector), len(sequences), group):
        part = slice(begin, begin + group)
        here = None if present is None else present[part].to(decoder.device)
        watched = _Group(decoder, sinks, here)
        held = watched.run(sequences[part], hold=collector is not None)
        received = watched.received()
        seen.add(received)
        if collector is not None and held_for is not None:
            assert held_for.sinks is not None
            kept = _discount_group(received.total, held_for.sinks, sinks, timesteps, here)
            collector.begin(kept * weights[part, None].to(kept.device))
            for source, (inputs, tokens) in held.items():
                collector.see(source, inputs, tokens)
        done = min(begin + group, len(sequences))
        passage.passed(done, len(sequences), seen, collector)
        watch(done, len(sequences))
    return Observation(
        mass=seen.mass.view(samples, timesteps, positions),
        kept=seen.kept.view(-1, timesteps, len(decoder.blocks), positions),
        totals=seen.totals,
        statistics={} if collector is None else collector.statistics(),
    )


def _flat(present: Tensor | None) -> Tensor | None:
    """By sequence instead of by sample and timestep."""
    return None if present is None else present.flatten(0, 1)


def _discount_group(
    mass: Tensor, use: SinkUse, sinks: Sinks, timesteps: int, present: Tensor | None
) -> Tensor:
    """ω of some sequences (sequences, positions), which are whole samples where that matters."""
    shape = (-1, timesteps if use == "discount-transient" else 1, mass.shape[-1])
    there = None if present is None else present.view(shape)
    return discount(mass.view(shape), use, sinks, there).view(mass.shape)


class _Group:
    """Some sequences on their way through the model, and what attention shows meanwhile."""

    def __init__(self, decoder: Decoder, sinks: Sinks, present: Tensor | None) -> None:
        self._decoder, self._per_head, self._present = decoder, sinks.per_head, present
        self._total = torch.empty(0)
        self._found: dict[str, list[Tensor]] = {name: [] for name in ("mass", "value_norm")}
        if self._per_head:
            self._found |= {"head_mass": [], "head_value_norm": []}

    def run(self, ids: Tensor, *, hold: bool) -> Held:
        """The held inputs."""
        held: Held = {}

        def keep_input(source: str, inputs: Tensor, tokens: Tensor | None) -> None:
            held[source] = inputs, tokens

        with ExitStack() as watches:
            watches.enter_context(
                attention.watching(
                    self._see_mass,
                    heads=self._see_heads if self._per_head else None,
                    values=self._see_values,
                    present=self._present,
                )
            )
            if hold:
                matrices = self._decoder.all_matrices()
                watches.enter_context(watching_inputs(matrices, keep_input))
            self._decoder.run_blocks(ids)
        return held

    def received(self) -> Received:
        return Received(
            total=self._total, **{name: torch.stack(b, 1) for name, b in self._found.items()}
        )

    def _see_mass(self, block: int, mass: Tensor) -> None:
        # Added block by block, so that no bit depends on how many sequences a group has.
        self._total = mass.clone() if block == 0 else self._total.add_(mass)
        self._found["mass"].append(mass)

    def _see_heads(self, block: int, mass: Tensor) -> None:  # noqa: ARG002 - an `Observer`
        self._found["head_mass"].append(mass)

    def _see_values(self, block: int, norms: Tensor) -> None:  # noqa: ARG002 - an `Observer`
        self._found["value_norm"].append(norms.mean(1))
        if self._per_head:
            self._found["head_value_norm"].append(norms)


@torch.inference_mode()
def measure_all_blocks(
    decoder: Decoder,
    watched: Watched,
    kind: type[Statistic],
    *,
    group: int,
    watch: Watch,
    passage: Passage = FROM_THE_START,
) -> dict[str, Statistic]:
    """Statistics of every input of the dense model, by what it is called."""
    collector, sequences = Collector(kind), len(watched.ids)
    with watching_inputs(decoder.all_matrices(), collector.see):
        for begin in range(passage.begin(None, collector), sequences, group):
            part = slice(begin, begin + group)
            collector.begin(watched.weight[part].to(decoder.device))
            decoder.run_blocks(watched.ids[part])
            done = min(begin + group, sequences)
            passage.passed(done, sequences, None, collector)
            watch(done, sequences)
    return collector.statistics()


def measure_block(
    decoder: Decoder,
    block: int,
    hidden: list[Tensor],
    weight: list[Tensor],
    kind: type[Statistic],
    *,
    advance: bool,
) -> dict[str, Statistic]:
    """Statistics of one block's inputs on the hidden states that reach it, in pieces as they lie.

    With `advance` the pieces become the block's outputs.
    """
    collector = Collector(kind)
    with watching_inputs(decoder.matrices(block), collector.see):
        for i, state in enumerate(hidden):
            collector.begin(weight[i].to(decoder.device))
            output = decoder.run_block(block, state)
            if advance:
                hidden[i] = output
    return collector.statistics()
