"""Train the two shipped example models from scratch on public-domain text.

First an autoregressive (AR) Llama, then a masked diffusion language model (DLM) in LLaDA's on-disk
format, started from the AR weights as Dream was started from Qwen2.5. Both have the same size, text
and character tokenizer.

    python examples/train_example_models.py ar  --corpus kjv.txt --work /tmp/train
    python examples/train_example_models.py dlm --corpus kjv.txt --work /tmp/train

Each stage can be stopped and started again: it continues from its last saved state, with batches
drawn anew. The shipped models were trained with such interruptions, in about 10 and 70 minutes on
two shared cores, so a run from scratch gives their like and not their bytes.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from characters import BOS_ID, MASK_ID, VOCABULARY, encode
from split_corpus import training_text
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

LENGTH, BATCH, EPSILON = 256, 16, 1e-3


def build(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(VOCABULARY), hidden_size=192, intermediate_size=512,
            num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
            max_position_embeddings=LENGTH, rms_norm_eps=1e-5, rope_theta=10000.0,
            tie_word_embeddings=False, bos_token_id=BOS_ID, attn_implementation="sdpa",
        )
    )  # fmt: skip


def make_bidirectional(model: LlamaForCausalLM) -> None:
    model.config.is_causal = False
    for layer in model.model.layers:
        layer.self_attn.is_causal = False


def batches(tokens: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Windows (BATCH, LENGTH), each a start token and LENGTH - 1 consecutive characters."""
    width = LENGTH - 1
    start = torch.full((BATCH, 1), BOS_ID)
    while True:
        at = torch.randint(len(tokens) - width, (BATCH, 1), generator=generator)
        yield torch.cat([start, tokens[at + torch.arange(width)]], dim=1)


def ar_loss(model: nn.Module, ids: Tensor, _: torch.Generator) -> Tensor:
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def diffusion_loss(model: nn.Module, ids: Tensor, generator: torch.Generator) -> Tensor:
    """NELBO per token (LLaDA, arXiv 2502.09992, eq. 3), timesteps stratified over the batch."""
    count = len(ids)
    t = (torch.rand(1, generator=generator) + torch.arange(count) / count) % 1
    rate = ((1 - EPSILON) * t + EPSILON)[:, None]
    masked = torch.rand(ids.shape, generator=generator) < rate
    logits = model(input_ids=ids.masked_fill(masked, MASK_ID), use_cache=False).logits
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    return (loss * masked / rate).sum() / ids.numel()


LOSSES = {"ar": ar_loss, "dlm": diffusion_loss}


def orthogonalise(update: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices to `update` (n, rows, cols), by Newton-Schulz (Jordan 2024)."""
    wide = update.shape[1] <= update.shape[2]
    x = update if wide else update.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised per matrix; matrices of one shape are stepped in one batch."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": 0.95, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # noqa: ARG002
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for same in shapes.values():
                self._step_same(same, group)

    def _step_same(self, params: list[nn.Parameter], group: dict[str, float]) -> None:
        updates = []
        for p in params:
            momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
            assert p.grad is not None
            momentum.lerp_(p.grad, 1 - group["momentum"])
            updates.append(p.grad.lerp(momentum, group["momentum"]))
        directions = orthogonalise(torch.stack(updates))
        scale = group["lr"] * 0.2 * math.sqrt(max(params[0].shape))  # AdamW's update RMS
        for p, direction in zip(params, directions, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(scale * direction)


def optimisers(model: nn.Module, peak: float) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if "layers" in n and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=peak),
        torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def rate_at(step: int, steps: int, decay: float = 0.35) -> float:
    """Warm up over 50 steps, stay, then fall linearly to zero over the last `decay` of the run."""
    return min(1.0, (step + 1) / 50, (steps - step) / (decay * steps))


def train(stage: str, args: argparse.Namespace) -> None:
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    state_file, done = work / f"{stage}.state", work / f"{stage}.weights"
    model = build(args.seed)
    if stage == "dlm":
        model.load_state_dict(torch.load(work / "ar.weights", weights_only=True))
        make_bidirectional(model)
    chosen = optimisers(model, args.lr)
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(chosen, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        first = state["step"]
    generator = torch.Generator().manual_seed(args.seed + 1 + first)
    tokens = torch.tensor(encode(training_text(Path(args.corpus).read_text(encoding="utf-8"))))
    stream = batches(tokens, generator)
    average, began = 0.0, time.monotonic()
    for step in range(first, args.steps):
        for optimiser in chosen:
            for group in optimiser.param_groups:
                group["lr"] = args.lr * rate_at(step, args.steps)
        loss = LOSSES[stage](model, next(stream), generator)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        average = loss.item() if step == first else 0.95 * average + 0.05 * loss.item()
        if step % 50 == 49:
            pace = (step + 1 - first) / (time.monotonic() - began)
            print(
                f"{stage} step {step + 1}/{args.steps} loss {average:.3f} {pace * BATCH * LENGTH:,.0f} tokens/s",
                flush=True,
            )
        if step % 250 == 249 or step + 1 == args.steps:
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimisers": [o.state_dict() for o in chosen],
                    "step": step + 1,
                },
                state_file,
            )
    torch.save(model.state_dict(), done)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=sorted(LOSSES))
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--steps", type=int, help="600 for ar, 1600 for dlm, as the shipped ones")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.steps = args.steps or {"ar": 600, "dlm": 1600}[args.stage]
    train(args.stage, args)


if __name__ == "__main__":
    main()
