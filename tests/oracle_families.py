"""Dream, LLaDA-MoE and LLaDA2 a second time: float64 numpy, token by token where experts are
concerned, sharing no code with `core`. Written from the published architectures' descriptions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracle import Array

Config = dict[str, Any]


@dataclass
class Answer:
    logits: Array
    mass: Array
    """(blocks, positions), summed over heads and queries."""


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight)


def rotate(x: Array, theta: float, share: float) -> Array:
    """Half-rotation of the first `share` of (positions, head_dim); the rest passes."""
    turned = int(x.shape[1] * share)
    half = turned // 2
    angle = np.outer(np.arange(len(x)), theta ** (-2 * np.arange(half) / turned))
    low, high = x[:, :half], x[:, half:turned]
    return np.concatenate(
        [
            low * np.cos(angle) - high * np.sin(angle),
            high * np.cos(angle) + low * np.sin(angle),
            x[:, turned:],
        ],
        axis=1,
    )


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def choose_softmax(scores: Array, config: Config) -> dict[int, float]:
    """LLaDA-MoE: the most probable experts, with their probabilities as they are."""
    probability = softmax(scores)
    best = np.argsort(-probability)[: config["num_experts_per_tok"]]
    return {int(e): float(probability[e]) for e in best}


def choose_grouped(scores: Array, config: Config, bias: Array) -> dict[int, float]:
    """LLaDA2: sigmoid scores; the bias and the groups decide who, never how much."""
    sure = 1 / (1 + np.exp(-scores))
    wish = sure + bias
    groups = np.split(np.arange(len(scores)), config["n_group"])
    strength = [np.sort(wish[g])[-2:].sum() for g in groups]
    allowed = np.concatenate([groups[g] for g in np.argsort(strength)[-config["topk_group"] :]])
    best = allowed[np.argsort(-wish[allowed])][: config["num_experts_per_tok"]]
    total = sure[best].sum() + 1e-20
    return {int(e): float(sure[e] / total * config["routed_scaling_factor"]) for e in best}


class FamilyOracle:
    """One sequence at a time from the tensors' published names."""

    def __init__(self, config: Config, tensors: dict[str, Any]) -> None:
        self.config = config
        self.tensors: dict[str, Array] = {n: t.double().numpy() for n, t in tensors.items()}
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads

    def run(self, ids: NDArray[np.int64]) -> Answer:
        eps, masses = self.config["rms_norm_eps"], []
        embedding = "word_embeddings" if self.fused else "embed_tokens"
        x = self.tensors[f"model.{embedding}.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{i}."
            normed = rms_norm(x, self.tensors[f"{at}input_layernorm.weight"], eps)
            mixed, mass = self.attend(at, normed)
            x = x + mixed
            normed = rms_norm(x, self.tensors[f"{at}post_attention_layernorm.weight"], eps)
            x = x + self.feed_forward(f"{at}mlp.", normed)
            masses.append(mass)
        x = rms_norm(x, self.tensors["model.norm.weight"], eps)
        return Answer(x @ self.tensors["lm_head.weight"].T, np.stack(masses))

    @property
    def fused(self) -> bool:
        return bool(self.config["model_type"] == "llada2_moe")

    def project(self, at: str, x: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values (positions, heads · head_dim)."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if self.fused:
            all_three = x @ self.tensors[f"{at}attention.query_key_value.weight"].T
            return all_three[:, :q], all_three[:, q : q + kv], all_three[:, q + kv :]
        found = []
        for name in ("q", "k", "v"):
            bias = self.tensors.get(f"{at}self_attn.{name}_proj.bias", np.zeros(1))
            found.append(x @ self.tensors[f"{at}self_attn.{name}_proj.weight"].T + bias)
        return found[0], found[1], found[2]

    def head_norm(self, at: str, which: str) -> Callable[[Array], Array]:
        short, long = (
            f"{at}self_attn.{which[0]}_norm.weight",
            f"{at}attention.{which}_layernorm.weight",
        )
        weight = self.tensors.get(short, self.tensors.get(long))
        eps = self.config["rms_norm_eps"]
        return (lambda x: x) if weight is None else (lambda x: rms_norm(x, weight, eps))

    def attend(self, at: str, x: Array) -> tuple[Array, Array]:
        q, k, v = self.project(at, x)
        width, positions = self.head_dim, len(x)
        theta, share = self.config["rope_theta"], self.config.get("partial_rotary_factor") or 1
        mixed, mass = np.zeros((positions, self.heads * width)), np.zeros(positions)
        place = np.arange(positions) // 32
        for h in range(self.heads):
            mine, kv = slice(h * width, (h + 1) * width), h * self.kv_heads // self.heads
            theirs = slice(kv * width, (kv + 1) * width)
            query = rotate(self.head_norm(at, "query")(q[:, mine]), theta, share)
            key = rotate(self.head_norm(at, "key")(k[:, theirs]), theta, share)
            scores = query @ key.T / np.sqrt(width)
            if self.fused:
                scores = np.where(place[None, :] <= place[:, None], scores, -np.inf)
            weights = softmax(scores)
            mass += weights.sum(0)
            mixed[:, mine] = weights @ v[:, theirs]
        out = "attention.dense" if self.fused else "self_attn.o_proj"
        return mixed @ self.tensors[f"{at}{out}.weight"].T, mass

    def expert(self, at: str, x: Array) -> Array:
        gate, up, down = (self.tensors[f"{at}{n}_proj.weight"] for n in ("gate", "up", "down"))
        opened = x @ gate.T
        return np.asarray((opened / (1 + np.exp(-opened)) * (x @ up.T)) @ down.T)

    def feed_forward(self, at: str, x: Array) -> Array:
        if f"{at}gate.weight" not in self.tensors:
            return self.expert(at, x)
        out = np.zeros_like(x)
        for i, token in enumerate(x):
            scores = self.tensors[f"{at}gate.weight"] @ token
            if self.fused:
                weights = choose_grouped(scores, self.config, self.tensors[f"{at}gate.expert_bias"])
            else:
                weights = choose_softmax(scores, self.config)
            for e, weight in weights.items():
                out[i] += weight * self.expert(f"{at}experts.{e}.", token)
        return out + self.expert(f"{at}shared_experts.", x) if self.fused else out
