"""What watching costs: sink-aware calibration over bare forwards of the same sequences.

    python benchmarks/calibration_cost.py [--rounds 5] [--sequences 64] [--width 1024]

Both run a model's blocks on the same noised sequences in the same groups, in turn; the ratio is taken
round by round, so a machine that drifts favours neither. The model is the shipped one, in which attention
is much of the work, or with --width a random one with LLaDA-8B's proportions and 512 positions.
"""

import argparse
import platform
from statistics import median
from time import perf_counter

import torch

from core.calibration.noise import Noise, Trajectories, draw
from core.calibration_spec import Calibration
from core.examples import folder_of
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, build, load
from core.models.families import LLADA, Dimensions
from core.models.intake import take_in
from core.models.shapes import tensor_shapes
from core.pruning.observe import observe
from core.recipes import METHODS
from core.spec import Sinks

GROUP_TOKENS = 4096
"""In one forward, as the engine plans it on a CPU."""


def wide_model(width: int) -> Decoder:
    """Random weights in LLaDA-8B's proportions: heads of 128, a feed-forward part three times as wide."""
    dimensions = Dimensions(
        vocabulary=1024, width=width, blocks=2, heads=width // 128, kv_heads=width // 128,
        ffn_width=3 * width, context=512, norm_eps=1e-5, rope_theta=500000.0, tied=False,
        mask_token=1023,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    state = {}
    for ours, place in LLADA.tensors(dimensions).items():
        shape = tensor_shapes(LLADA, dimensions)[place.name]
        drawn = torch.randn(shape, generator=rng) * width**-0.5
        state[ours] = drawn if len(shape) > 1 else torch.ones(shape)
    return build(LLADA, dimensions, state)


@torch.inference_mode()
def bare(decoder: Decoder, trajectories: Trajectories, group: int) -> None:
    for ids in torch.split(trajectories.noised.flatten(0, 1), group):
        decoder.run_blocks(ids)


def watched(decoder: Decoder, trajectories: Trajectories, group: int) -> None:
    observe(
        decoder, trajectories, Sinks(), held_for=METHODS["sink-wanda"], group=group,
        watch=lambda *_: None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--width", type=int, help="of a random model instead of the shipped one")
    args = parser.parse_args()
    if args.width:
        decoder = wide_model(args.width)
    else:
        decoder = load(Checkpoint(take_in(folder_of("kjv-dlm"))), torch.device("cpu"))
    shape = decoder.dimensions
    rng = torch.Generator().manual_seed(0)
    timesteps = Calibration().timesteps[:8]
    samples = max(1, args.sequences // len(timesteps))
    clean = torch.randint(60, (samples, shape.context), generator=rng)
    noise = Noise("llada", timesteps, 50, 1e-3, mask_token=shape.mask_token)
    trajectories = draw(clean, noise, seed=0)
    group = GROUP_TOKENS // shape.context
    bare(decoder, trajectories, group)
    watched(decoder, trajectories, group)
    ratios = []
    for _ in range(args.rounds):
        seconds = []
        for act in (bare, watched):
            began = perf_counter()
            act(decoder, trajectories, group)
            seconds.append(perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(
        f"width {shape.width}, {samples * len(timesteps)} sequences of {shape.context} tokens, {args.rounds} rounds"
    )
    print(f"watched / bare: median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
