"""A mixture of experts whose every matrix is an ordinary linear layer, so that it can be watched
and pruned like any other. Takes the place of transformers' fused experts."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from core.models.families import Experts


class RoutedLinear(nn.Linear):
    """A linear layer that only some tokens go through."""

    tokens: Tensor | None = None
    """(rows of the input,) int64: the flat index into batch × positions of each row, ascending;
    None outside of a call."""


class Expert(nn.Module):
    """down(silu(gate(x)) · up(x)) over the tokens that were sent here."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = RoutedLinear(width, inner, bias=False)
        self.up_proj = RoutedLinear(width, inner, bias=False)
        self.down_proj = RoutedLinear(inner, width, bias=False)

    def forward(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """(rows, width) from hidden (rows, width) of the tokens with those flat indices."""
        linears = (self.gate_proj, self.up_proj, self.down_proj)
        for linear in linears:
            linear.tokens = tokens
        try:
            return gated(*linears, hidden)
        finally:
            for linear in linears:
                linear.tokens = None


class SharedExpert(nn.Module):
    """The expert that every token goes through."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return gated(self.gate_proj, self.up_proj, self.down_proj, hidden)


def gated(gate: nn.Linear, up: nn.Linear, down: nn.Linear, hidden: Tensor) -> Tensor:
    """(…, width) from hidden (…, width)."""
    output: Tensor = down(nn.functional.silu(gate(hidden)) * up(hidden))
    return output


class Router(nn.Module):
    """Chooses experts for each token."""

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts.count, width))
        self.bias = nn.Parameter(torch.empty(experts.count)) if experts.biased else None

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Experts (tokens, active) int64 and their weights, float32, from hidden (tokens, width)."""
        # Softmax routers were trained with logits in the model's dtype, sigmoid ones in float32.
        dtype = hidden.dtype if self.experts.scores == "softmax" else torch.float32
        logits = nn.functional.linear(hidden.to(dtype), self.weight.to(dtype)).float()
        return choose(logits, self.bias, self.experts)


def choose(logits: Tensor, bias: Tensor | None, experts: Experts) -> tuple[Tensor, Tensor]:
    """The experts with the highest scores (tokens, active), and their weights in the output.

    With groups, only those whose two best experts score highest together are chosen from. A bias
    moves the choice and never the weights.  DeepSeek-V3, arXiv 2412.19437, §2.1.2.
    """
    scores = logits.softmax(-1) if experts.scores == "softmax" else logits.sigmoid()
    preference = scores if bias is None else scores + bias.float()
    if experts.active_groups < experts.groups:
        grouped = preference.view(len(preference), experts.groups, -1)
        best = grouped.topk(2).values.sum(-1).topk(experts.active_groups).indices
        kept = torch.zeros_like(grouped[..., 0], dtype=torch.bool).scatter_(-1, best, value=True)
        preference = grouped.masked_fill(~kept[..., None], float("-inf")).flatten(-2)
    chosen = preference.topk(experts.active).indices
    weight = scores.gather(-1, chosen)
    if experts.normalised and experts.active > 1:
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
    return chosen, weight * experts.scale


class MixtureOfExperts(nn.Module):
    """Σ weight · expert(x) over the experts of each token, plus the shared expert."""

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.router = Router(width, experts)
        self.experts = nn.ModuleList(Expert(width, experts.width) for _ in range(experts.count))
        shared = experts.shared_width
        self.shared = SharedExpert(width, shared) if shared else None

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, positions, width) from the same. An expert that no token chose is not called."""
        flat = hidden.flatten(0, 1)
        chosen, weight = self.router(flat)
        order = chosen.flatten().argsort(stable=True)
        counts = chosen.flatten().bincount(minlength=len(self.experts)).tolist()
        tokens = (order // chosen.shape[1]).split(counts)
        weights = weight.flatten()[order].split(counts)
        # One expert adds to a token once, so the sum's order is the experts', whatever the device.
        total = torch.zeros(flat.shape, dtype=torch.float32, device=flat.device)
        for expert, mine, share in zip(
            cast("Sequence[Expert]", self.experts), tokens, weights, strict=True
        ):
            if len(mine):
                total.index_add_(0, mine, expert(flat[mine], mine).float() * share[:, None])
        output = total.to(hidden.dtype).view_as(hidden)
        return output if self.shared is None else output + self.shared(hidden)
