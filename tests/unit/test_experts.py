"""Mixtures of experts: the same function as transformers' fused ones, in layers that can be watched."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from core.models.checkpoint import Checkpoint
from core.models.config import read_config
from core.models.decoder import Decoder, load
from core.models.experts import MixtureOfExperts, RoutedLinear, choose
from core.models.families import Experts
from core.models.intake import take_in
from tests.checkpoints import VOCABULARY
from tests.family_checkpoints import ACTIVE, EXPERTS, tiny

MOE = ("llada_moe", "llada2_moe")
IDS = torch.randint(VOCABULARY, (2, 70), generator=torch.Generator().manual_seed(5))


def read(folder: Path) -> Decoder:
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "moe_intermediate_size": 24, "num_experts_per_tok": ACTIVE,
    "max_position_embeddings": 128, "attn_implementation": "eager",
}  # fmt: skip


def qwen3_moe(stored: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    config = Qwen3MoeConfig(
        **COMMON | {"head_dim": 8}, num_key_value_heads=4, num_experts=EXPERTS, norm_topk_prob=False,
        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
    )  # fmt: skip
    return Qwen3MoeForCausalLM(config), stored


def glm4_moe(stored: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    rope = {"rope_type": "default", "rope_theta": 600000.0, "partial_rotary_factor": 0.5}
    config = Glm4MoeConfig(
        **COMMON | {"head_dim": 16}, num_key_value_heads=2, n_routed_experts=EXPERTS, n_shared_experts=2,
        n_group=4, topk_group=2, routed_scaling_factor=2.5, norm_topk_prob=True, use_qk_norm=True,
        first_k_dense_replace=1, rms_norm_eps=1e-6, rope_parameters=rope,
    )  # fmt: skip
    renamed = {}
    for name, tensor in stored.items():
        for ours, theirs in (
            ("word_embeddings", "embed_tokens"), ("attention.dense", "self_attn.o_proj"),
            ("attention.query_layernorm", "self_attn.q_norm"), ("gate.expert_bias", "gate.e_score_correction_bias"),
            ("attention.key_layernorm", "self_attn.k_norm"),
        ):  # fmt: skip
            name = name.replace(ours, theirs)  # noqa: PLW2901
        if "query_key_value" in name:
            for part, rows in zip("qkv", torch.split(tensor, [64, 32, 32]), strict=True):
                renamed[name.replace("attention.query_key_value", f"self_attn.{part}_proj")] = rows
        else:
            renamed[name] = tensor
    return Glm4MoeForCausalLM(config), renamed


def fuse(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Experts in transformers' three-dimensional tensors."""
    fused = {n: t for n, t in tensors.items() if ".experts." not in n}
    for i in range(2):
        at = f"model.layers.{i}.mlp.experts."
        if f"{at}0.gate_proj.weight" in tensors:
            each = [
                torch.cat([tensors[f"{at}{e}.{n}_proj.weight"] for n in ("gate", "up")])
                for e in range(EXPERTS)
            ]
            fused[f"{at}gate_up_proj"] = torch.stack(each)
            downs = [tensors[f"{at}{e}.down_proj.weight"] for e in range(EXPERTS)]
            fused[f"{at}down_proj"] = torch.stack(downs)
    return fused


Maker = Callable[[dict[str, Tensor]], tuple[Any, dict[str, Tensor]]]


@pytest.mark.parametrize(("kind", "maker"), [("llada_moe", qwen3_moe), ("llada2_moe", glm4_moe)])
def test_transformers_fused_experts_compute_the_same(
    tmp_path: Path, kind: str, maker: Maker
) -> None:
    folder = tiny(tmp_path, kind)
    decoder = read(folder)
    theirs, tensors = maker(load_file(folder / "model.safetensors"))
    theirs.load_state_dict(fuse(tensors), strict=True)
    span, place = decoder.family.span, torch.arange(IDS.shape[1])
    seen = torch.ones(len(place), len(place), dtype=torch.bool)
    if span is not None:
        seen = place[None] // span <= place[:, None] // span
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    with torch.inference_mode():
        expected = theirs.eval()(IDS, attention_mask=mask.expand(2, 1, -1, -1)).logits
        ours = decoder.head(decoder.features(IDS))
    assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", MOE)
def test_each_expert_sees_its_tokens_and_says_which(tmp_path: Path, kind: str) -> None:
    """What every expert multiplies is exactly the block's input at the tokens that it names."""
    decoder = read(tiny(tmp_path, kind))
    moe = decoder.blocks[1].get_submodule("mlp")
    whole: list[Tensor] = []
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    moe.register_forward_pre_hook(lambda _, given: whole.append(given[0]))

    def note(expert: int) -> Callable[[RoutedLinear, tuple[Tensor, ...]], None]:
        def hook(linear: RoutedLinear, given: tuple[Tensor, ...]) -> None:
            assert linear.tokens is not None
            assert len(given[0]) == len(linear.tokens) > 0
            seen[expert] = (linear.tokens, given[0])

        return hook

    for m in decoder.matrices(1):
        if m.expert is not None:
            assert isinstance(m.linear, RoutedLinear)
            if m.role == "gate":
                m.linear.register_forward_pre_hook(note(m.expert))
    ids = IDS[:, :5]  # so few that some expert has none
    with torch.inference_mode():
        decoder.run_blocks(ids)
    flat = whole[0].flatten(0, 1)
    for tokens, inputs in seen.values():
        assert torch.equal(tokens, torch.unique(tokens))
        assert torch.equal(inputs, flat[tokens])
    counts = torch.bincount(torch.cat([t for t, _ in seen.values()]), minlength=ids.numel())
    assert bool((counts == ACTIVE).all())
    for m in decoder.matrices(1):
        assert getattr(m.linear, "tokens", None) is None


def test_an_expert_without_tokens_is_not_called() -> None:
    experts = Experts(4, 1, 8, 0, frozenset(), "softmax", normalised=False, biased=False)
    moe = MixtureOfExperts(6, experts)
    with torch.inference_mode():
        moe.router.weight.zero_()
        moe.router.weight[2] = 1.0
    called: list[int] = []
    for e, expert in enumerate(moe.experts):
        expert.register_forward_pre_hook(lambda *_, e=e: called.append(e))
    with torch.inference_mode():
        moe(torch.ones(1, 3, 6))
    assert called == [2]


def test_tokens_are_forgotten_even_when_a_watcher_fails() -> None:
    experts = Experts(2, 1, 8, 0, frozenset(), "softmax", normalised=False, biased=False)
    moe = MixtureOfExperts(6, experts)

    def fail(*_: object) -> None:
        raise KeyError

    for expert in moe.experts:
        expert.get_submodule("down_proj").register_forward_pre_hook(fail)
    with pytest.raises(KeyError):
        moe(torch.randn(1, 3, 6))
    linears = [m for m in moe.modules() if isinstance(m, RoutedLinear)]
    assert [linear.tokens for linear in linears] == [None] * 6


@pytest.mark.parametrize("kind", MOE)
def test_experts_are_matrices_with_sources_of_their_own(tmp_path: Path, kind: str) -> None:
    matrices = read(tiny(tmp_path, kind)).matrices(1)
    routed = [m for m in matrices if m.expert is not None]
    assert [m.expert for m in routed] == [e for e in range(EXPERTS) for _ in range(3)]
    assert [m.role for m in routed] == ["gate", "up", "down"] * EXPERTS
    assert matrices[-len(routed) :] == routed
    for m in routed:
        reads = "gated" if m.role == "down" else "ffn"
        assert m.source == f"1.expert.{m.expert}.{reads}"
    rest = {m.role: m.source for m in matrices if m.expert is None}
    shared = {"gate": "1.shared.ffn", "up": "1.shared.ffn", "down": "1.shared.gated"}
    attention = {**dict.fromkeys("qkv", "1.attention"), "o": "1.mixed"}
    assert rest == attention | (shared if kind == "llada2_moe" else {})


def test_fused_queries_keys_and_values_are_rows_of_one_tensor(tmp_path: Path) -> None:
    matrices = read(tiny(tmp_path, "llada2_moe")).matrices(0)[:3]
    assert {m.name for m in matrices} == {"model.layers.0.attention.query_key_value.weight"}
    assert [m.rows for m in matrices] == [(0, 64), (64, 96), (96, 128)]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), groups=st.sampled_from([1, 2, 4]), active=st.integers(1, 4))
def test_laws_of_choosing(seed: int, groups: int, active: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits, bias = torch.randn(5, 8, generator=rng), torch.randn(8, generator=rng)
    few = max(1, groups // 2)
    experts = Experts(
        8, active, 4, 0, frozenset(), "sigmoid", normalised=True, biased=True,
        groups=groups, active_groups=few, scale=2.5,
    )  # fmt: skip
    chosen, weight = choose(logits, bias, experts)
    size = 8 // groups
    for row in range(5):
        assert len(set(chosen[row].tolist())) == active
        assert len({e // size for e in chosen[row].tolist()}) <= few
    if active > 1:
        assert_close(weight.sum(-1), torch.full((5,), 2.5), rtol=1e-5, atol=0)
    else:
        assert_close(weight, 2.5 * logits.sigmoid().gather(-1, chosen))
    # A bias that is the same for all moves nothing, and one that is not never touches the weights.
    same, _ = choose(logits, torch.full((8,), 3.0), experts)
    plain, _ = choose(logits, torch.zeros(8), experts)
    assert torch.equal(same.sort(-1).values, plain.sort(-1).values)
    raw = replace(experts, normalised=False, scale=1.0)
    chosen, weight = choose(logits, bias, raw)
    assert_close(weight, logits.sigmoid().gather(-1, chosen))


def test_a_router_keeps_the_dtype_it_was_saved_in(tmp_path: Path) -> None:
    folder = tiny(
        tmp_path, "llada2_moe",
        dtype=lambda n: torch.float32 if "mlp.gate." in n else torch.bfloat16,
    )  # fmt: skip
    decoder, stored = read(folder), load_file(folder / "model.safetensors")
    router = decoder.blocks[1].get_submodule("mlp.router")
    bias, weight = router.get_parameter("bias"), router.get_parameter("weight")
    assert torch.equal(bias, stored["model.layers.1.mlp.gate.expert_bias"])
    assert torch.equal(weight, stored["model.layers.1.mlp.gate.weight"])
    assert (bias.dtype, decoder.element_bytes) == (torch.float32, 2)
    assert decoder.head(decoder.features(IDS)).dtype == torch.bfloat16


def test_dense_blocks_may_stand_anywhere(tmp_path: Path) -> None:
    decoder = read(tiny(tmp_path, "llada_moe", moe_layer_freq=[1, 0]))
    assert [m.role for m in decoder.matrices(1)][4:] == ["gate", "up", "down"]
    assert len(decoder.matrices(0)) == 4 + 3 * EXPERTS


@pytest.mark.parametrize("kind", MOE)
def test_the_mask_token_is_the_familys_where_the_config_is_silent(
    tmp_path: Path, kind: str
) -> None:
    folder = tiny(tmp_path, kind)
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 157184}
    del config["mask_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    assert read_config(folder)[1].mask_token == 156895
