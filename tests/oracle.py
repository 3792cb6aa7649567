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


def weights_of_positions(
    oracle: Oracle, noised: NDArray[np.int64], sinks: str, kappa: float, alpha: float
) -> Array:
    """ω (samples, timesteps, positions): 1 − φ, or 1 − φ·(1 − persistence)."""
    kept = np.ones(noised.shape)
    if sinks == "keep":
        return kept
    for n, steps in enumerate(noised):
        mass = np.stack([oracle.mass(ids).sum(0) for ids in steps])
        threshold = mass.mean(1) + kappa * np.sqrt(mass.var(1))
        persistence = (mass > threshold[:, None]).mean(0)
        for t in range(len(steps)):
            soft = soft_sink(mass[t], kappa, alpha)
            kept[n, t] = 1 - soft * (1 - persistence if sinks == "discount-transient" else 1)
    return kept


def remove_lowest(score: Array, sparsity: float) -> Bits:
    """Per row, the first ⌊in·s⌋ of a stable ascending sort."""
    return lowest(score, int(np.floor(score.shape[1] * sparsity)))


def lowest(score: Array, count: int) -> Bits:
    removed = np.zeros(score.shape, dtype=bool)
    for row in range(len(score)):
        removed[row, np.argsort(score[row], kind="stable")[:count]] = True
    return removed


def lowest_per_group(score: Array, kept: int, group: int) -> Bits:
    removed = np.zeros(score.shape, dtype=bool)
    for begin in range(0, score.shape[1], group):
        part = slice(begin, begin + group)
        removed[:, part] = lowest(score[:, part], group - kept)
    return removed


def up_to_rank(score: Array, sparsity: float) -> Bits:
    """Every entry ≤ the value at 0-based rank ⌊numel·s⌋."""
    at_most: Bits = score <= np.sort(score, axis=None)[int(np.floor(score.size * sparsity))]
    return at_most


def column_by_column(
    weight: Array, hessian: Array, choice: "Choice", damping: float = 0.01
) -> tuple[Array, Bits]:
    """SparseGPT as its authors wrote it down: one column after the other, blocks of 128."""
    weight, hessian = weight.copy(), hessian.copy()
    inputs = len(hessian)
    dead = np.diag(hessian) == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    hessian += damping * np.diag(hessian).mean() * np.eye(inputs)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    removed = np.zeros(weight.shape, dtype=bool)
    for begin in range(0, inputs, 128):
        end = min(begin + 128, inputs)
        scale = np.diag(upper)
        if isinstance(choice, float):
            score = (weight[:, begin:end] / scale[begin:end]) ** 2
            removed[:, begin:end] = up_to_rank(score, choice)
        for c in range(begin, end):
            if not isinstance(choice, float) and c % choice[1] == 0:
                part = slice(c, c + choice[1])
                score = (weight[:, part] / scale[part]) ** 2
                removed[:, part] = lowest_per_group(score, *choice)
            error = np.where(removed[:, c], weight[:, c], 0) / scale[c]
            weight[:, c:] -= np.outer(error, upper[c, c:])
            weight[removed[:, c], c] = 0
    return weight, removed


Choice = float | tuple[int, int]
"""Sparsity, or (kept, group)."""


@dataclass
class Cell:
    """One cell of the grid, in the names of the contract."""

    score: str
    inputs: str
    order: str
    sinks: str


@dataclass
class Removed:
    """One matrix: the score of each entry (SparseGPT: its dense weight), what went, what is left."""

    score: Array
    mask: Bits
    weight: Array


def prune(
    oracle: Oracle,
    cell: Cell,
    clean: NDArray[np.int64],
    noised: NDArray[np.int64],
    choice: Choice,
    *,
    kappa: float = 2.0,
    alpha: float = 5.0,
    timestep_weights: Array | None = None,
) -> dict[tuple[int, str], Removed]:
    """Any cell; in the end the oracle holds the pruned matrices."""
    weights = np.ones(noised.shape[:2]) if timestep_weights is None else timestep_weights
    kept = weights_of_positions(oracle, noised, cell.sinks, kappa, alpha)
    if cell.inputs == "clean":
        sequences = clean
        counts = (weights[..., None] * kept).sum(1) / weights.sum(1)[:, None]
        lambdas = np.ones(len(clean))
    else:
        sequences = noised.reshape(-1, noised.shape[-1])
        counts = kept.reshape(sequences.shape)
        lambdas = weights.ravel()
    hidden = [oracle.embed(ids) for ids in sequences]
    found = {}
    for b in range(oracle.blocks):
        passed = [oracle.block(b, x) for x in hidden]
        for name, source in INPUT_OF.items():
            rows = [w[:, None] * p.inputs[source] for w, p in zip(counts, passed, strict=True)]
            found[b, name] = _remove(cell, oracle.matrix(b, name), rows, lambdas, choice)
        for name in INPUT_OF:
            oracle.matrix(b, name)[:] = found[b, name].weight
        after = passed if cell.order == "one-shot" else [oracle.block(b, x) for x in hidden]
        hidden = [p.output for p in after]
    return found


def _remove(
    cell: Cell, weight: Array, rows: list[Array], lambdas: Array, choice: Choice
) -> Removed:
    if cell.score == "sparsegpt":
        hessian = sum(2 / len(rows) * w * x.T @ x for w, x in zip(lambdas, rows, strict=True))
        solved, mask = column_by_column(weight, np.asarray(hessian), choice)
        return Removed(weight.copy(), mask, solved)
    squares = [(x**2).sum(0) for x in rows]
    if cell.inputs == "clean":
        norm = np.sqrt(sum(squares) / len(squares))
    else:
        norm = np.asarray(sum(w * np.sqrt(s) for w, s in zip(lambdas, squares, strict=True)))
    score = np.abs(weight) * norm
    if isinstance(choice, float):
        mask = remove_lowest(score, choice)
    else:
        mask = lowest_per_group(score, *choice)
    return Removed(score, mask, np.where(mask, 0, weight))


def magnitude(oracle: Oracle, choice: Choice) -> dict[tuple[int, str], Removed]:
    found = {}
    for b, name in oracle.matrix_names():
        weight = oracle.matrix(b, name)
        score = np.abs(weight)
        if isinstance(choice, float):
            mask = up_to_rank(score, choice)
        else:
            mask = lowest_per_group(score, *choice)
        found[b, name] = Removed(score, mask, np.where(mask, 0, weight))
    return found
