"""Files of every family: what is refused by name, and that what is read comes back to the byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import BrokenCheckpoint, ModelError, UnsupportedModel
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.config import read_config
from core.models.decoder import load
from core.models.families import FAMILIES
from core.models.intake import take_in
from tests.family_checkpoints import KINDS, LLAMA3_ROPE, tiny

CPU = torch.device("cpu")


def is_matrix(name: str) -> bool:
    return "norm" not in name and "ln_f" not in name and not name.endswith("bias")


Mix = Callable[[str], torch.dtype]

MIXES: dict[str, tuple[Mix, torch.dtype]] = {
    "float32": (lambda _: torch.float32, torch.float32),
    "bfloat16": (lambda _: torch.bfloat16, torch.bfloat16),
    "float16": (lambda _: torch.float16, torch.float16),
    "float32 beside bfloat16 matrices": (
        lambda n: torch.bfloat16 if is_matrix(n) else torch.float32,
        torch.bfloat16,
    ),
    "bfloat16 and float16 matrices": (
        lambda n: torch.float16 if "v_proj" in n or "down" in n else torch.bfloat16,
        torch.float32,
    ),
    "float32 embedding": (
        lambda n: torch.float32 if "embed" in n or "wte" in n else torch.bfloat16,
        torch.float32,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mix", MIXES)
def test_what_is_read_comes_back_to_the_byte(tmp_path: Path, kind: str, mix: str) -> None:
    dtype, compute = MIXES[mix]
    source, out = tiny(tmp_path / "in", kind, dtype=dtype, shards=2), tmp_path / "out"
    checkpoint = Checkpoint(take_in(source))
    decoder = load(checkpoint, CPU)
    out.mkdir()
    writer = CheckpointWriter(checkpoint, out)
    written = 0
    for m in decoder.all_matrices():
        assert m.linear.weight.dtype == compute
        assert m.dtype == dtype(m.name)
        place = checkpoint.places[m.name].of_rows(m.rows)
        with (out / place.shard).open("r+b") as stream:  # so that only what is written can match
            stream.seek(place.begin)
            stream.write(b"\0" * (place.end - place.begin))
        writer.replace(m.name, m.linear.weight, m.rows)
        written += 1
    assert written == sum(len(decoder.matrices(b)) for b in range(len(decoder.blocks)))
    for file in source.rglob("*.*"):
        assert (out / file.relative_to(source)).read_bytes() == file.read_bytes(), file.name
    ids = torch.arange(16)[None]
    assert decoder.features(ids).dtype == compute
    assert torch.isfinite(decoder.head(decoder.features(ids))).all()


def test_rows_are_replaced_without_touching_others(tmp_path: Path) -> None:
    source, out = tiny(tmp_path / "in", "qwen2"), tmp_path / "out"
    name = "model.layers.0.mlp.gate_proj.weight"
    checkpoint = Checkpoint(take_in(source))
    out.mkdir()
    writer = CheckpointWriter(checkpoint, out)
    before = checkpoint.read(name).clone()
    writer.replace(name, torch.zeros(3, 32), (4, 7))
    after = Checkpoint(take_in(out)).read(name)
    assert bool((after[4:7] == 0).all())
    assert torch.equal(after[:4], before[:4])
    assert torch.equal(after[7:], before[7:])
    assert torch.equal(checkpoint.read(name, (4, 7)), before[4:7])


@pytest.mark.parametrize(
    ("shape", "rows", "dtype"),
    [
        ((48, 31), None, torch.float32),
        ((32, 48), None, torch.float32),
        ((3, 32), None, torch.float32),
        ((3, 32), (46, 49), torch.float32),
        ((3, 32), (3, 3), torch.float32),
        ((48, 32), None, torch.int32),
    ],
)
def test_what_does_not_fit_is_not_written(
    tmp_path: Path, shape: tuple[int, ...], rows: tuple[int, int] | None, dtype: torch.dtype
) -> None:
    source, out = tiny(tmp_path / "in", "qwen2"), tmp_path / "out"
    out.mkdir()
    writer = CheckpointWriter(Checkpoint(take_in(source)), out)
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp\.gate_proj|do not lie"):
        writer.replace("model.layers.0.mlp.gate_proj.weight", torch.zeros(shape).to(dtype), rows)
    name = "model.safetensors"
    assert (out / name).read_bytes() == (source / name).read_bytes()


Refusal = tuple[str, dict[str, Any], type[ModelError], str]

REFUSALS: dict[str, Refusal] = {
    "llama: scaled otherwise": ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, UnsupportedModel, "'yarn'"),
    "llama: scaled the old way": ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, UnsupportedModel, "'linear'"),
    "llama: unknown setting": ("llama", {"rope_scaling": LLAMA3_ROPE | {"beta": 1}}, UnsupportedModel, "beta"),
    "llama: missing setting": ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, BrokenCheckpoint, "rope_scaling.low_freq_factor"),
    "llama: both spellings": ("llama", {"rope_parameters": {"rope_type": "default"}}, BrokenCheckpoint, "both"),
    "llama: two bases": ("llama", {"rope_scaling": None, "rope_parameters": {"rope_theta": 7.0}}, BrokenCheckpoint, "rope_theta"),
    "llama: not an object": ("llama", {"rope_scaling": "llama3"}, BrokenCheckpoint, "rope_scaling"),
    "llama: part of a head turned": ("llama", {"rope_scaling": None, "rope_parameters": {"partial_rotary_factor": 0.5}}, UnsupportedModel, "partial_rotary_factor"),
    "llama: quantised": ("llama", {"quantization_config": {"bits": 4}}, UnsupportedModel, "quantization_config"),
    "llama: interleaved": ("llama", {"rope_interleaved": True}, UnsupportedModel, "rope_interleaved"),
    "llama: other activation": ("llama", {"hidden_act": "gelu"}, UnsupportedModel, "hidden_act"),
    "llama: bias that is no flag": ("llama", {"attention_bias": "yes"}, BrokenCheckpoint, "attention_bias"),
    "llama: bias without tensors": ("llama", {"attention_bias": True}, BrokenCheckpoint, "bias"),
    "llama: multiplier": ("llama", {"embedding_multiplier": 12}, UnsupportedModel, "embedding_multiplier"),
    "mistral: short window": ("mistral", {"sliding_window": 127}, UnsupportedModel, "sliding_window"),
    "mistral: layers that differ": ("mistral", {"layer_types": ["sliding_attention", "full_attention"]}, UnsupportedModel, "layer_types"),
    "qwen2: window": ("qwen2", {"use_sliding_window": True}, UnsupportedModel, "use_sliding_window"),
    "qwen2: layers that differ": ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, UnsupportedModel, "layer_types"),
    "qwen2: key of another family": ("qwen2", {"mask_token_id": 3}, UnsupportedModel, "mask_token_id"),
    "qwen3: odd heads": ("qwen3", {"head_dim": 7}, BrokenCheckpoint, "divide"),
    "dream: several positions a token": ("dream", {"use_mrope": True}, UnsupportedModel, "use_mrope"),
    "dream: no mask token": ("dream", {"mask_token_id": None}, BrokenCheckpoint, "mask_token_id"),
    "llada_moe: router bias": ("llada_moe", {"moe_router_enable_expert_bias": True}, UnsupportedModel, "moe_router_enable_expert_bias"),
    "llada_moe: shared expert": ("llada_moe", {"shared_expert_intermediate_size": 24}, UnsupportedModel, "shared_expert_intermediate_size"),
    "llada_moe: part of a head turned": ("llada_moe", {"partial_rotary_factor": 0.5}, UnsupportedModel, "partial_rotary_factor"),
    "llada_moe: clipped": ("llada_moe", {"clip_qkv": 8.0}, UnsupportedModel, "clip_qkv"),
    "llada_moe: no norm of heads": ("llada_moe", {"qk_layernorm": False}, UnsupportedModel, "qk_layernorm"),
    "llada_moe: normalised weights": ("llada_moe", {"norm_topk_prob": True}, UnsupportedModel, "norm_topk_prob"),
    "llada_moe: scaled weights": ("llada_moe", {"routed_scaling_factor": 2.5}, UnsupportedModel, "routed_scaling_factor"),
    "llada_moe: blocks not listed": ("llada_moe", {"moe_layer_freq": [1]}, BrokenCheckpoint, "moe_layer_freq"),
    "llada_moe: more active than there are": ("llada_moe", {"num_experts_per_tok": 9}, BrokenCheckpoint, "9 of 8 experts"),
    "llada2_moe: split projections": ("llada2_moe", {"using_split_qkv_in_self_attention": True}, UnsupportedModel, "using_split_qkv"),
    "llada2_moe: biases": ("llada2_moe", {"use_qkv_bias": True}, UnsupportedModel, "use_qkv_bias"),
    "llada2_moe: no norm of heads": ("llada2_moe", {"use_qk_norm": False}, UnsupportedModel, "use_qk_norm"),
    "llada2_moe: softmax router": ("llada2_moe", {"score_function": "softmax"}, UnsupportedModel, "score_function"),
    "llada2_moe: more layers that predict": ("llada2_moe", {"num_nextn_predict_layers": 1}, UnsupportedModel, "num_nextn_predict_layers"),
    "llada2_moe: contradiction": ("llada2_moe", {"rotary_dim": 16}, UnsupportedModel, "rotary_dim"),
    "llada2_moe: turns more than a head": ("llada2_moe", {"partial_rotary_factor": 1.5}, BrokenCheckpoint, "more than 1"),
    "llada2_moe: ragged groups": ("llada2_moe", {"n_group": 3}, BrokenCheckpoint, "of 3 groups"),
    "llada2_moe: groups of one": ("llada2_moe", {"n_group": 8, "topk_group": 4}, BrokenCheckpoint, "of 8 groups"),
    "llada2_moe: groups too small": ("llada2_moe", {"topk_group": 1}, BrokenCheckpoint, "1 of 4 groups"),
    "llada2_moe: no group count": ("llada2_moe", {"n_group": None}, BrokenCheckpoint, "n_group"),
    "llada_moe: no rotary base": ("llada_moe", {"rope_theta": None}, BrokenCheckpoint, "rope_theta"),
    "llada2_moe: no epsilon": ("llada2_moe", {"rms_norm_eps": None}, BrokenCheckpoint, "rms_norm_eps"),
    "llada2_moe: share of heads unsaid": ("llada2_moe", {"partial_rotary_factor": None}, BrokenCheckpoint, "partial_rotary_factor"),
    "mmada: tied": ("mmada", {"tie_word_embeddings": True}, UnsupportedModel, "tie_word_embeddings"),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_config_we_do_not_run_is_refused_by_name(tmp_path: Path, refusal: str) -> None:
    kind, changes, error, message = REFUSALS[refusal]
    folder = tiny(tmp_path, kind)
    load(Checkpoint(take_in(folder)), CPU)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(error, match=message):
        load(Checkpoint(take_in(folder)), CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_is_refused_by_every_family(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path, kind, logit_softcapping=30.0)
    with pytest.raises(UnsupportedModel, match="logit_softcapping"):
        read_config(folder)


def test_the_guide_has_a_row_for_every_family() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    for family in FAMILIES:
        row = next(line for line in guide.splitlines() if line.startswith(f"| `{family.name}` |"))
        for told in (
            *family.model_types,
            *family.architectures,
            family.attention,
            family.objective,
        ):
            assert told in row


def test_a_window_that_reaches_over_the_context_is_none(tmp_path: Path) -> None:
    family, dimensions = read_config(tiny(tmp_path, "mistral", sliding_window=128))
    assert (family.name, dimensions.context) == ("mistral", 128)


def test_mmada_under_lladas_name(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "mmada", model_type="llada", architectures=["LLaDAModelLM"])
    assert read_config(folder)[0].name == "llada"


def test_leftovers_are_carried_along(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "llama")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, folder / "model.safetensors")
    load(Checkpoint(take_in(folder)), CPU)


def test_a_tied_head_may_be_saved_again_and_must_then_be_the_embedding(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "qwen3")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    load(Checkpoint(take_in(folder)), CPU)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(BrokenCheckpoint, match=r"ties lm_head\.weight"):
        load(Checkpoint(take_in(folder)), CPU)
