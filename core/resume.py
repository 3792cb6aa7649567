"""The stages of a run as points of its journal: the plan, what each matrix loses, passes over the
calibration sequences, pruned blocks."""

from collections.abc import Callable
from dataclasses import asdict, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor

from core import machine
from core.calibration.noise import Trajectories
from core.identity import run_identity
from core.journal import Journal, Spent
from core.models.decoder import Matrix
from core.phases import Phases
from core.pruning.engine import Pruned
from core.pruning.kept_blocks import put_back, tensors_of
from core.pruning.observe import Collector
from core.pruning.pattern_values import Exactly, KeepPerGroup, Pattern, Share
from core.pruning.plan import Plan
from core.pruning.targets import Targets
from core.recipes import Recipe
from core.report.schema import Resumed
from core.sinks.watch import SinkWatch
from core.spec import JobSpec

if TYPE_CHECKING:
    from core.stages import Loaded, RunOptions

PASS_SECONDS: Final = 60.0
"""Between two points of one pass: what is lost is less than a minute, and sums of a large model,
which each point has, are some megabytes."""

PASS_BYTES: Final = 256 << 20
"""Of single sequences, after which a point comes sooner: it is in memory while it is written. Without
the full resolution of the sinks, which few ask for, it takes longer than a minute to come so far."""

SINKS: Final = "sinks."
"""Before the names of what belongs to sinks: all others are of inputs."""

_PATTERNS: Final = {kind.__name__: kind for kind in (Share, Exactly, KeepPerGroup)}


def open_journal(
    loaded: "Loaded", spec: JobSpec, options: "RunOptions", phases: Phases
) -> tuple[Journal, Resumed | None]:
    """The journal of a run, at what an earlier one has left; and what is to be said of that.

    A plan of the earlier run that this machine has not the memory for is left, with all that was
    made by it: groups of another size add up to other sums.
    """
    decoder = loaded.decoder
    run = run_identity(spec, loaded.revision, loaded.prepared.trajectories, decoder)
    journal = Journal(
        options.points,
        run,
        lambda: Spent(
            seconds=phases.spent(), block_sequences=decoder.block_sequences, reached=phases.reached
        ),
    )
    last, first = journal.open(phases.step), journal.first()
    if last is None or first is None:
        return journal, None
    need, limit = Plan(**first.facts.details).peak_bytes, _most_bytes(options, decoder.device)
    if need > limit:
        journal.forget(
            f"finished parts of {last.origin} are not used: its plan takes {need / 1e9:.2f} GB, and"
            f" {limit / 1e9:.2f} GB may be used here"
        )
        return journal, None
    spent, at = last.facts.spent, last.facts.then
    journal.tell(f"continued at {at} from {last.origin}", {"continued": at, "origin": last.origin})
    phases.carry(spent.seconds)
    phases.reached = spent.reached
    decoder.block_sequences = spent.block_sequences
    return journal, Resumed(at=at, origin=last.origin)


def _most_bytes(options: "RunOptions", device: torch.device) -> int:
    """What a plan that was made elsewhere may take here. Where nobody set a budget, a new plan would
    leave a quarter of the memory to others, and an old one may use that quarter too."""
    return options.memory_budget or machine.default_budget(device) * 4 // 3


def kept_plan(journal: Journal, make: Callable[[], Plan]) -> Plan:
    """The plan by which the earlier run worked, else a new one."""
    if point := journal.take("plan"):
        return Plan(**point.facts.details)
    plan = make()
    journal.keep("plan", "the allocation", asdict(plan), {})
    return plan


def kept_trajectory(
    journal: Journal, begun: Trajectories, make: Callable[[], Trajectories]
) -> Trajectories:
    """What the earlier run's model wrote, else what `make` finds; which timesteps there are and what
    exists at them is known from what is `begun`."""
    if point := journal.take("written"):
        with point.tensors() as tensor:
            return replace(
                begun,
                clean=tensor("clean"),
                noised=tensor("noised"),
                masked=tensor("masked"),
                rates=tensor("rates"),
                weights=tensor("weights"),
            )
    made = make()
    tensors = {
        "clean": made.clean,
        "noised": made.noised,
        "masked": made.masked,
        "rates": made.rates,
        "weights": made.weights,
    }
    # Copies, since the file's format takes no tensors that share memory.
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    journal.keep("written", "the allocation", {}, copies)
    return made


def kept_targets(journal: Journal, make: Callable[[], Targets]) -> Targets:
    """What the earlier run meant to remove, else what `make` finds."""
    if point := journal.take("targets"):
        details = point.facts.details
        patterns = {key: _pattern(*value) for key, value in details["patterns"].items()}
        shares = details["shares"]
        return Targets(patterns, None if shares is None else tuple(shares))
    targets = make()
    patterns_as_json = {
        key: [type(pattern).__name__, asdict(pattern)] for key, pattern in targets.patterns.items()
    }
    details = {"patterns": patterns_as_json, "shares": targets.shares}
    journal.keep("targets", "the analysis", details, {})
    return targets


def _pattern(kind: str, values: dict[str, Any]) -> Pattern:
    pattern: Pattern = _PATTERNS[kind](**values)
    return pattern


class KeptPassage:
    """A pass over sequences, with a point now and then and one at its end.

    Each point has what is new of single sequences, and the sums up to there: sums go on from the very
    numbers at which they stood, in the order in which they would have been added anyway.
    """

    def __init__(
        self,
        journal: Journal,
        kind: Literal["watched", "measured"],
        device: torch.device,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._journal, self._kind, self._device, self._clock = journal, kind, device, clock
        self._kept, self._due = 0, 0.0

    def begin(self, sinks: SinkWatch | None, collector: Collector | None) -> int:
        while point := self._journal.take(self._kind):
            done, details = point.facts.details["done"], point.facts.details
            with point.tensors() as tensor:
                if sinks is not None:
                    sinks.put_rows(self._kept, done, _of_sinks(tensor))
                if not self._journal.ahead(self._kind):
                    if sinks is not None:
                        sinks.put_sums(done, _of_sinks(tensor))
                    if collector is not None:
                        collector.sequences = done
                        for source, tokens in details["tokens"].items():
                            collector.put_back(source, tensor(source).to(self._device), tokens)
            self._kept = done
        self._due = self._clock() + PASS_SECONDS
        return self._kept

    def passed(
        self, done: int, of: int, sinks: SinkWatch | None, collector: Collector | None
    ) -> None:
        new = 0 if sinks is None else (done - self._kept) * sinks.row_bytes()
        if done < of and new < PASS_BYTES and self._clock() < self._due:
            return
        sums = {} if collector is None else collector.statistics()
        tensors = {source: statistic.total.cpu() for source, statistic in sums.items()}
        if sinks is not None:
            found = sinks.rows(self._kept, done) | sinks.sums()
            tensors |= {f"{SINKS}{name}": values for name, values in found.items()}
        tokens = {source: statistic.tokens for source, statistic in sums.items()}
        then = f"sequence {done + 1} of {of}" if done < of else "the pruning"
        self._journal.keep(self._kind, then, {"done": done, "tokens": tokens}, tensors)
        self._kept, self._due = done, self._clock() + PASS_SECONDS


def _of_sinks(tensor: Callable[[str], Tensor]) -> Callable[[str], Tensor]:
    return lambda name: tensor(f"{SINKS}{name}")


class FinishedBlocks:
    """Pruned blocks as points, each of which has what its matrices became."""

    def __init__(self, journal: Journal, recipe: Recipe, blocks: int) -> None:
        self._journal, self._blocks = journal, blocks
        self._moved = recipe.score == "sparsegpt"
        self.count = journal.ahead("block")

    def put_back(self, matrices: list[Matrix]) -> list[Pruned]:
        point = self._journal.take("block")
        assert point is not None
        details = point.facts.details
        removed, unreached, heads = (details[key] for key in ("removed", "unreached", "heads"))
        with point.tensors() as tensor:
            for matrix in matrices:
                put_back(matrix, tensor, moved=self._moved)
        by_key = {matrix.key: matrix for matrix in matrices}
        return [
            Pruned(by_key[key], count, None, key not in unreached, tuple(heads.get(key, ())))
            for key, count in removed.items()
        ]

    def keep(self, block: int, pruned: list[Pruned]) -> None:
        details = {
            "removed": {each.matrix.key: each.removed for each in pruned},
            "unreached": [each.matrix.key for each in pruned if not each.reached],
            "heads": {each.matrix.key: each.heads for each in pruned if each.heads},
        }
        last = block + 1 == self._blocks
        then = "the evaluation" if last else f"block {block + 2} of {self._blocks}"
        tensors = tensors_of([each.matrix for each in pruned], moved=self._moved)
        self._journal.keep("block", then, details, tensors)
