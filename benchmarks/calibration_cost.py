"""What watching costs: sink-aware calibration over bare forwards of the same sequences.

    python benchmarks/calibration_cost.py [--rounds 5] [--sequences 64]

Both run the shipped diffusion model's blocks on the same noised sequences in the same groups, in
turn; the ratio is taken round by round, so a machine that drifts favours neither.
"""

import argparse
import platform
from statistics import median
from time import perf_counter

import torch

from core.calibration.noise import Trajectories, forward_noise
from core.calibration_spec import Calibration
from core.examples import folder_of
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.observe import observe
from core.recipes import METHODS
from core.spec import Sinks

GROUP = 16


@torch.inference_mode()
def bare(decoder: Decoder, trajectories: Trajectories) -> None:
    for ids in torch.split(trajectories.noised.flatten(0, 1), GROUP):
        decoder.run_blocks(ids)


def watched(decoder: Decoder, trajectories: Trajectories) -> None:
    observe(
        decoder, trajectories, Sinks(), held_for=METHODS["sink-wanda"], group=GROUP,
        watch=lambda *_: None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=64)
    args = parser.parse_args()
    decoder = load(Checkpoint(take_in(folder_of("kjv-dlm"))), torch.device("cpu"))
    shape = decoder.dimensions
    rng = torch.Generator().manual_seed(0)
    timesteps = Calibration().timesteps[:8]
    samples = max(1, args.sequences // len(timesteps))
    clean = torch.randint(60, (samples, shape.context), generator=rng)
    assert shape.mask_token is not None
    trajectories = forward_noise(clean, timesteps, 50, 1e-3, shape.mask_token, 0)
    bare(decoder, trajectories)
    watched(decoder, trajectories)
    ratios = []
    for _ in range(args.rounds):
        seconds = []
        for act in (bare, watched):
            began = perf_counter()
            act(decoder, trajectories)
            seconds.append(perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{samples * len(timesteps)} sequences of {shape.context} tokens, {args.rounds} rounds")
    print(f"watched / bare: median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
