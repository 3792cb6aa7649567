"""SparseGPT's solver against the published algorithm's loop over columns, on the same Hessian.

    python benchmarks/sparsegpt_solver.py [--width 2048] [--rows 2048] [--rounds 3]

The peer is Frantar & Alistarh's algorithm 1 as it is commonly run: columns one by one, each updating
what is left of its block of 128, N:M chosen as each group is reached; Hessian factored, inverted and
factored again in float32. Both find the same mask (the share of differing entries is printed). They
run in turn; the ratio is taken round by round, so a machine that drifts favours neither.
"""

import argparse
import platform
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from core.pruning.pattern_values import KeepPerGroup, Pattern, Share
from core.pruning.sparsegpt import BLOCK, inverse_factor, solve
from core.pruning.statistics import Hessian

DAMPING = 0.01


def by_columns(weight: Tensor, hessian: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Algorithm 1, column by column."""
    weight, hessian = weight.clone(), hessian.clone()
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    removed = torch.zeros_like(weight, dtype=torch.bool)
    for begin in range(0, weight.shape[1], BLOCK):
        end = min(begin + BLOCK, weight.shape[1])
        part, factor = weight[:, begin:end].clone(), upper[begin:end, begin:end]
        errors, gone = torch.zeros_like(part), removed[:, begin:end]
        if isinstance(pattern, Share):
            score = part**2 / factor.diagonal()[None] ** 2
            gone |= score <= score.flatten().sort().values[int(score.numel() * pattern.sparsity)]
        for c in range(end - begin):
            if isinstance(pattern, KeepPerGroup) and c % pattern.group == 0:
                group = slice(c, c + pattern.group)
                score = part[:, group] ** 2 / factor.diagonal()[None, group] ** 2
                lowest = score.topk(pattern.group - pattern.kept, dim=1, largest=False).indices
                gone.scatter_(1, c + lowest, value=True)
            column = part[:, c]
            kept = column.masked_fill(gone[:, c], 0)
            error = (column - kept) / factor[c, c]
            part[:, c:] -= error[:, None] @ factor[c, c:][None]
            part[:, c], errors[:, c] = kept, error
        weight[:, begin:end] = part
        weight[:, end:] -= errors @ upper[begin:end, end:]
    return weight, removed


def timed(act: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, Tensor]:
    began = perf_counter()
    _, removed = act()
    return perf_counter() - began, removed


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("width", 2048), ("rows", 2048), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    mixed = torch.randn(args.width, args.width, generator=rng) / args.width**0.5
    x = torch.randn(4, args.width, args.width, generator=rng) @ (mixed + torch.eye(args.width))
    found = Hessian.of(x, torch.ones(x.shape[:2]))
    weight = torch.randn(args.rows, args.width, generator=rng)
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{args.rows} × {args.width}, {args.rounds} rounds, factoring the Hessian included")
    patterns: tuple[tuple[str, Pattern], ...] = (
        ("unstructured 50%", Share(0.5)),
        ("2:4", KeepPerGroup(2, 4)),
    )
    for name, pattern in patterns:
        ratios = []
        for _ in range(args.rounds):
            matrix = found.matrix().float()
            theirs, their_mask = timed(lambda m=matrix, p=pattern: by_columns(weight, m, p))
            ours, our_mask = timed(
                lambda p=pattern: solve(weight, inverse_factor(found, DAMPING, "m"), p)
            )
            ratios.append(theirs / ours)
        differing = (our_mask != their_mask).float().mean().item()
        print(
            f"{name}: {median(ratios):.1f} times as fast as the loop over columns"
            f" ({min(ratios):.1f} to {max(ratios):.1f}); {differing:.4%} of the mask differs"
        )


if __name__ == "__main__":
    main()
