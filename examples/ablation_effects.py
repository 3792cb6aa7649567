"""What a sweep's recipes are worth, told apart: how much of a gain is the sinks, how much the noise?

    secateur sweep MODEL --preset ablation --local --out SWEPT
    python examples/ablation_effects.py SWEPT [SWEPT …] [--model example:kjv-dlm] [--samples 64]

Judges the dense model and every pruned one anew, all on the same held-out text under the same noise, on more
samples than the sweep did and with another seed. So each comparison is of pairs: what is printed is the mean of
a difference in nats per token with its 95 % confidence interval over samples (± 1.96 standard errors), and for
several sweeps, such as of different calibration seeds, over all of their samples' means.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from core.calibration_spec import Calibration
from core.crew import nobody
from core.evaluation.nelbo import Estimate, NoisyTokens, draw, judge
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.spec import ModelRef
from core.stages import RunOptions, fetch

SEED = 20
GROUP = 16
CPU = torch.device("cpu")
INPUTS = ("clean", "noised")
ORDERS = ("sequential", "one-shot")
SINKS = ("keep", "discount-all", "discount-transient")


@dataclass(frozen=True, slots=True)
class Cell:
    """One pruned model, by its recipe."""

    inputs: str
    order: str
    sinks: str
    sparsity: float


Found = dict[Cell, Tensor]
"""(samples,) float64: how much more a token of each sample costs than with the dense model, in nats."""


def results(swept: Path) -> Iterator[tuple[Cell, Path]]:
    """Every complete result of a sweep, by what its report says of itself."""
    for manifest in sorted(swept.glob("*/manifest.json")):
        told = json.loads((manifest.parent / "report" / "report.json").read_bytes())
        recipe = told["recipe"]
        cell = Cell(recipe["inputs"], recipe["order"], recipe["sinks"], told["job"]["sparsity"])
        yield cell, manifest.parent / "model"


def held_out(model: str, samples: int, scratch: Path) -> tuple[Decoder, NoisyTokens]:
    """The dense model, and what all are judged on."""
    loaded = fetch(
        ModelRef(source=model), Calibration(samples=2, sequence_length=256), RunOptions(), CPU,
        scratch, evaluation_samples=samples, to_prune=False, watch=nobody,
    )  # fmt: skip
    family = loaded.decoder.family
    return loaded.decoder, draw(loaded.prepared.evaluation, family, 1e-3, SEED)


def nelbo_of(decoder: Decoder, noisy: NoisyTokens) -> Tensor:
    return judge(decoder, noisy, group=GROUP, watch=lambda *_: None).nelbo


def measured(swept: Path, dense: Tensor, noisy: NoisyTokens) -> Found:
    found: Found = {}
    for cell, folder in results(swept):
        print(f"\r{swept.name}: {len(found) + 1}", end="", file=sys.stderr, flush=True)
        found[cell] = nelbo_of(load(Checkpoint(take_in(folder)), CPU, head=True), noisy) - dense
    print(file=sys.stderr)
    return found


def interval(difference: Tensor) -> str:
    """`+0.0123 ± 0.0020`, with a star where the interval does not hold zero."""
    each = Estimate.of(difference)
    half = 1.96 * each.stderr
    return f"{each.mean:+.4f} ± {half:.4f}{' *' if abs(each.mean) > half else ''}"


def cells_table(found: Found, sparsity: float) -> Iterator[str]:
    """What pruning costs by each recipe."""
    yield f"| inputs, order | {' | '.join(SINKS)} |"
    yield "|---" * (1 + len(SINKS)) + "|"
    for inputs, order in product(INPUTS, ORDERS):
        row = [found.get(Cell(inputs, order, sinks, sparsity)) for sinks in SINKS]
        told = ["–" if each is None else interval(each).removesuffix(" *") for each in row]
        yield f"| {inputs}, {order} | {' | '.join(told)} |"


def effects(found: Found, sparsity: float) -> Iterator[str]:
    """What one choice changes, all else being equal, on average over all else."""

    def cell(inputs: str, order: str, sinks: str) -> Tensor:
        return found[Cell(inputs, order, sinks, sparsity)]

    def mean(differences: Sequence[Tensor]) -> str:
        return interval(torch.stack(list(differences)).mean(0))

    yield "| choice | change in nats per token |"
    yield "|---|---|"
    for sinks in SINKS[1:]:
        for inputs, order in product(INPUTS, ORDERS):
            change = cell(inputs, order, sinks) - cell(inputs, order, "keep")
            yield f"| {sinks} for keep; {inputs}, {order} | {interval(change)} |"
        pairs = [cell(i, o, sinks) - cell(i, o, "keep") for i, o in product(INPUTS, ORDERS)]
        yield f"| **{sinks} for keep**, over all | {mean(pairs)} |"
    noise = [cell("noised", o, s) - cell("clean", o, s) for o, s in product(ORDERS, SINKS)]
    yield f"| **noised for clean inputs**, over all | {mean(noise)} |"
    orders = [cell(i, "sequential", s) - cell(i, "one-shot", s) for i, s in product(INPUTS, SINKS)]
    yield f"| **sequential for one-shot**, over all | {mean(orders)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("swept", type=Path, nargs="+", help="folders of `secateur sweep --local`")
    parser.add_argument("--model", default="example:kjv-dlm")
    parser.add_argument("--samples", type=int, default=64)
    wanted = parser.parse_args()
    with TemporaryDirectory() as scratch:
        model, noisy = held_out(wanted.model, wanted.samples, Path(scratch))
        dense = nelbo_of(model, noisy)
        runs = [measured(swept, dense, noisy) for swept in wanted.swept]
    common = set.intersection(*(set(run) for run in runs))
    found = {cell: torch.stack([run[cell] for run in runs]).mean(0) for cell in common}
    print(f"dense: {Estimate.of(dense).mean:.4f} nats per token, {wanted.samples} samples\n")
    for sparsity in sorted({cell.sparsity for cell in found}):
        print(f"### {sparsity:.0%}\n", *cells_table(found, sparsity), "", sep="\n")
        print(*effects(found, sparsity), "", sep="\n")


if __name__ == "__main__":
    main()
