"""A second implementation of the formulas: slow, plain, float64, sharing no code with `core`.

Everything is a loop over samples, timesteps and blocks in numpy, written from the papers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

INPUT_OF = {
    "q_proj": "attention", "k_proj": "attention", "v_proj": "attention", "attn_out": "mixed",
    "ff_proj": "ffn", "up_proj": "ffn", "ff_out": "gated",
}  # fmt: skip


@dataclass
class Passed:
    """What one sequence leaves behind in one block."""

    output: Array
    mass: Array
    inputs: dict[str, Array]


class Oracle:
    """LLaDA from its tensors, one sequence and one block at a time."""

    def __init__(self, config: dict[str, Any], tensors: dict[str, Any]) -> None:
        self.config = config
        self.tensors = {n: t.double().numpy().copy() for n, t in tensors.items()}
        self.blocks = int(config["n_layers"])

    def matrix(self, block: int, name: str) -> Array:
        found: Array = self.tensors[f"model.transformer.blocks.{block}.{name}.weight"]
        return found

    def norm(self, x: Array, weight: Array) -> Array:
        scaled: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return scaled * weight

    def rotate(self, x: Array) -> Array:
        """Half-rotation rotary embedding of (positions, head_dim)."""
        positions, width = x.shape
        frequency = self.config["rope_theta"] ** (-np.arange(0, width, 2) / width)
        angle = np.outer(np.arange(positions), frequency)
        cos, sin = np.cos(angle), np.sin(angle)
        low, high = x[:, : width // 2], x[:, width // 2 :]
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=1)

    def embed(self, ids: NDArray[np.int64]) -> Array:
        rows: Array = self.tensors["model.transformer.wte.weight"][ids]
        return rows

    def block(self, block: int, x: Array) -> Passed:
        heads = self.config["n_heads"]
        normed = self.norm(x, self.matrix(block, "attn_norm"))
        q, k, v = (normed @ self.matrix(block, n).T for n in ("q_proj", "k_proj", "v_proj"))
        width = q.shape[1] // heads
        mixed = np.zeros_like(q)
        mass = np.zeros(len(x))
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = self.rotate(q[:, part]) @ self.rotate(k[:, part]).T / np.sqrt(width)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            mass += weights.sum(0)
            mixed[:, part] = weights @ v[:, part]
        x = x + mixed @ self.matrix(block, "attn_out").T
        ffn = self.norm(x, self.matrix(block, "ff_norm"))
        gate, up = (ffn @ self.matrix(block, n).T for n in ("ff_proj", "up_proj"))
        gated = gate / (1 + np.exp(-gate)) * up
        inputs = {"attention": normed, "mixed": mixed, "ffn": ffn, "gated": gated}
        return Passed(x + gated @ self.matrix(block, "ff_out").T, mass, inputs)

    def logits(self, ids: NDArray[np.int64]) -> Array:
        x = self.embed(ids)
        for b in range(self.blocks):
            x = self.block(b, x).output
        x = self.norm(x, self.tensors["model.transformer.ln_f.weight"])
        out: Array = x @ self.tensors["model.transformer.ff_out.weight"].T
        return out

    def mass(self, ids: NDArray[np.int64]) -> Array:
        """(blocks, positions)."""
        x, found = self.embed(ids), []
        for b in range(self.blocks):
            passed = self.block(b, x)
            found.append(passed.mass)
            x = passed.output
        return np.stack(found)

    def matrix_names(self) -> list[tuple[int, str]]:
        return [(b, n) for b in range(self.blocks) for n in INPUT_OF]


def soft_sink(mass: Array, kappa: float, alpha: float) -> Array:
    """φ of mass (positions,): population standard deviation, unnormalised mass."""
    threshold = mass.mean() + kappa * np.sqrt(((mass - mass.mean()) ** 2).mean())
    return np.asarray(1 / (1 + np.exp(-alpha * (mass - threshold))))


def sink_wanda_norms(
    oracle: Oracle, noised: NDArray[np.int64], kappa: float, alpha: float
) -> dict[tuple[int, str], Array]:
    """Σ_n Σ_t ‖(1 − φ) ⊙ X‖₂ per input feature, noised (samples, timesteps, positions)."""
    totals: dict[tuple[int, str], Array] = {}
    for ids in noised.reshape(-1, noised.shape[-1]):
        keep = 1 - soft_sink(oracle.mass(ids).sum(0), kappa, alpha)
        x = oracle.embed(ids)
        for b in range(oracle.blocks):
            passed = oracle.block(b, x)
            for name, source in INPUT_OF.items():
                norm = np.sqrt(((keep[:, None] * passed.inputs[source]) ** 2).sum(0))
                totals[b, name] = totals.get((b, name), np.zeros_like(norm)) + norm
            x = passed.output
    return totals


def remove_lowest(score: Array, sparsity: float) -> Bits:
    """Per row, the first ⌊in·s⌋ of a stable ascending sort."""
    removed = np.zeros(score.shape, dtype=bool)
    count = int(np.floor(score.shape[1] * sparsity))
    for row in range(len(score)):
        removed[row, np.argsort(score[row], kind="stable")[:count]] = True
    return removed


def sink_wanda(
    oracle: Oracle, noised: NDArray[np.int64], sparsity: float, kappa: float, alpha: float
) -> dict[tuple[int, str], tuple[Array, Bits]]:
    """Score and removed entries of every matrix."""
    norms = sink_wanda_norms(oracle, noised, kappa, alpha)
    found = {}
    for (b, name), norm in norms.items():
        score = np.abs(oracle.matrix(b, name)) * norm
        found[b, name] = (score, remove_lowest(score, sparsity))
    return found


def wanda(
    oracle: Oracle, clean: NDArray[np.int64], sparsity: float
) -> dict[tuple[int, str], tuple[Array, Bits]]:
    """Sequential: the oracle's own matrices are pruned block by block on the way."""
    hidden = [oracle.embed(ids) for ids in clean]
    found = {}
    for b in range(oracle.blocks):
        passed = [oracle.block(b, x) for x in hidden]
        for name, source in INPUT_OF.items():
            square = sum((p.inputs[source] ** 2).sum(0) for p in passed) / len(passed)
            score = np.abs(oracle.matrix(b, name)) * np.sqrt(square)
            found[b, name] = (score, remove_lowest(score, sparsity))
        for name in INPUT_OF:
            oracle.matrix(b, name)[found[b, name][1]] = 0
        hidden = [oracle.block(b, x).output for x in hidden]
    return found


def magnitude(oracle: Oracle, sparsity: float) -> dict[tuple[int, str], tuple[Array, Bits]]:
    """Every entry ≤ the value at 0-based rank ⌊numel·s⌋ of the matrix."""
    found = {}
    for b, name in oracle.matrix_names():
        score = np.abs(oracle.matrix(b, name))
        threshold = np.sort(score, axis=None)[int(np.floor(score.size * sparsity))]
        found[b, name] = (score, score <= threshold)
    return found
