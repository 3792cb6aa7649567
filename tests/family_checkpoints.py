"""Tiny random checkpoints of every family beside LLaDA, in the published on-disk formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.checkpoints import (
    MASK_ID,
    VOCABULARY,
    llada_config,
    llada_tensors,
    write_checkpoint,
)

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

WIDTH, HEADS, KV_HEADS, HEAD_DIM, FFN, BLOCKS = 32, 4, 2, 8, 48, 2
EXPERTS, ACTIVE, EXPERT_WIDTH = 8, 3, 24


def _hf_config(model_type: str, architecture: str, **more: object) -> Config:
    """The keys that transformers' own formats have in common."""
    return {
        "architectures": [architecture], "attention_dropout": 0.0, "bos_token_id": VOCABULARY - 3,
        "eos_token_id": VOCABULARY - 2, "hidden_act": "silu", "hidden_size": WIDTH,
        "initializer_range": 0.02, "intermediate_size": FFN, "max_position_embeddings": 128,
        "model_type": model_type, "num_attention_heads": HEADS, "num_hidden_layers": BLOCKS,
        "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5, "rope_theta": 5000.0,
        "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.46.2",
        "use_cache": True, "vocab_size": VOCABULARY,
    } | more  # fmt: skip


LLAMA3_ROPE = {
    "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 128, "rope_type": "llama3",
}  # fmt: skip


def llama_config() -> Config:
    more = {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1, "head_dim": HEAD_DIM}
    return _hf_config("llama", "LlamaForCausalLM", rope_scaling=LLAMA3_ROPE, **more)


def biased_llama_config() -> Config:
    return llama_config() | {"attention_bias": True, "mlp_bias": True, "rope_scaling": None}


def qwen2_config() -> Config:
    more = {"max_window_layers": 28, "sliding_window": 131072, "use_sliding_window": False}
    return _hf_config("qwen2", "Qwen2ForCausalLM", use_mrope=False, **more)


def qwen3_config() -> Config:
    """Heads that are wider than width / heads, and embeddings that serve as the head."""
    more = {"attention_bias": False, "head_dim": 16, "rope_scaling": None}
    window = {"max_window_layers": 36, "sliding_window": None, "use_sliding_window": False}
    return _hf_config("qwen3", "Qwen3ForCausalLM", **more, **window) | {"tie_word_embeddings": True}


def mistral_config() -> Config:
    return _hf_config("mistral", "MistralForCausalLM", head_dim=HEAD_DIM, sliding_window=None)


def dream_config() -> Config:
    more = {"max_window_layers": 28, "sliding_window": None, "use_sliding_window": False}
    return _hf_config(
        "Dream", "DreamModel", auto_map={"AutoModel": "modeling_dream.DreamModel"},
        mask_token_id=MASK_ID, pad_token_id=VOCABULARY - 2, rope_scaling=None, use_mrope=False,
        **more,
    )  # fmt: skip


def mmada_config() -> Config:
    """LLaDA's keys and those with which MMaDA's training adds image codes to the vocabulary."""
    return llada_config(layers=BLOCKS) | {
        "architectures": ["MMadaModelLM"], "codebook_size": 8192, "gradient_checkpointing": False,
        "llm_vocab_size": 126464, "model_type": "mmada", "new_vocab_size": VOCABULARY,
        "num_new_special_tokens": 0, "num_vq_tokens": 256,
        "pretrained_model_path": "GSAI-ML/LLaDA-8B-Instruct", "tie_word_embeddings": False,
        "w_clip_vit": False,
    }  # fmt: skip


def llada_moe_config() -> Config:
    """Every block with experts; the mask token is in no published file, and given here because the
    vocabulary is tiny."""
    return {
        "architectures": ["LLaDAMoEModelLM"], "attention_bias": False, "attention_dropout": 0.0,
        "auto_map": {"AutoModelForCausalLM": "modeling_lladamoe.LLaDAMoEModelLM"},
        "clip_qkv": None, "dense_intermediate_size": FFN, "eos_token_id": VOCABULARY - 2,
        "expert_intermediate_size": EXPERT_WIDTH, "hidden_act": "silu", "hidden_size": WIDTH,
        "initializer_range": 0.02, "mask_token_id": MASK_ID, "max_position_embeddings": 128,
        "model_type": "llada", "moe_layer_freq": [1] * BLOCKS,
        "moe_router_enable_expert_bias": False, "moe_router_score_function": "softmax",
        "norm_topk_prob": None, "num_attention_heads": HEADS, "num_experts": EXPERTS,
        "num_experts_per_tok": ACTIVE, "num_hidden_layers": BLOCKS, "num_key_value_heads": HEADS,
        "output_router_logits": False, "pad_token_id": VOCABULARY - 2, "partial_rotary_factor": 1,
        "qk_layernorm": True, "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 50000,
        "routed_scaling_factor": 1, "router_aux_loss_coef": 0.01, "router_num_group": None,
        "router_topk_group": None, "shared_expert_intermediate_size": None,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.53.2",
        "use_cache": False, "vocab_size": VOCABULARY,
    }  # fmt: skip


def llada2_moe_config() -> Config:
    """One dense block, then one with experts in groups and a shared one."""
    return {
        "architectures": ["LLaDA2MoeModelLM"], "attention_dropout": 0.0,
        "auto_map": {"AutoModelForCausalLM": "modeling_llada2_moe.LLaDA2MoeModelLM"},
        "embedding_dropout": 0.0, "eos_token_id": VOCABULARY - 2, "first_k_dense_replace": 1,
        "head_dim": 16, "hidden_act": "silu", "hidden_size": WIDTH, "initializer_range": 0.02,
        "intermediate_size": FFN, "mask_token_id": MASK_ID, "max_position_embeddings": 128,
        "max_window_layers": 28, "model_type": "llada2_moe", "moe_intermediate_size": EXPERT_WIDTH,
        "moe_router_enable_expert_bias": True, "n_group": 4, "norm_head": False,
        "norm_softmax": False, "norm_topk_prob": True, "num_attention_heads": HEADS,
        "num_experts": EXPERTS, "num_experts_per_tok": ACTIVE, "num_hidden_layers": BLOCKS,
        "num_key_value_heads": KV_HEADS, "num_shared_experts": 2, "output_dropout": 0.0,
        "output_router_logits": False, "pad_token_id": VOCABULARY - 2,
        "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-6, "rope_scaling": None,
        "rope_theta": 600000, "rotary_dim": 8, "routed_scaling_factor": 2.5,
        "router_dtype": "fp32", "score_function": "sigmoid", "sliding_window": 4096,
        "tie_word_embeddings": False, "topk_group": 2, "torch_dtype": "bfloat16",
        "transformers_version": "4.57.1", "use_bias": False, "use_cache": False,
        "use_qkv_bias": False, "use_rmsnorm": True, "use_sliding_window": False,
        "using_split_qkv_in_self_attention": False, "vocab_size": VOCABULARY,
    }  # fmt: skip


def ffn_shapes(at: str, width: int, inner: int) -> Shapes:
    ways = {"gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner)}
    return {f"{at}.{name}.weight": shape for name, shape in ways.items()}


def llada_moe_shapes(config: Config) -> Shapes:
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    head = (width // config["num_attention_heads"],)
    shapes: Shapes = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocabulary, width),
    }
    for i, routed in enumerate(config["moe_layer_freq"]):
        at = f"model.layers.{i}."
        shapes |= {
            f"{at}{n}.weight": (width,) for n in ("input_layernorm", "post_attention_layernorm")
        }
        shapes |= {f"{at}self_attn.{n}_proj.weight": (width, width) for n in "qkvo"}
        shapes |= {f"{at}self_attn.{n}_norm.weight": head for n in "qk"}
        if not routed:
            shapes |= ffn_shapes(f"{at}mlp", width, config["dense_intermediate_size"])
            continue
        shapes[f"{at}mlp.gate.weight"] = (config["num_experts"], width)
        for e in range(config["num_experts"]):
            inner = config["expert_intermediate_size"]
            shapes |= ffn_shapes(f"{at}mlp.experts.{e}", width, inner)
    return shapes


def llada2_moe_shapes(config: Config) -> Shapes:
    width, vocabulary, head = config["hidden_size"], config["vocab_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes: Shapes = {
        "model.word_embeddings.weight": (vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocabulary, width),
    }
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        shapes |= {
            f"{at}{n}.weight": (width,) for n in ("input_layernorm", "post_attention_layernorm")
        }
        shapes |= {f"{at}attention.{n}_layernorm.weight": (head,) for n in ("query", "key")}
        shapes[f"{at}attention.query_key_value.weight"] = (q + 2 * kv, width)
        shapes[f"{at}attention.dense.weight"] = (width, q)
        if i < config["first_k_dense_replace"]:
            shapes |= ffn_shapes(f"{at}mlp", width, config["intermediate_size"])
            continue
        inner = config["moe_intermediate_size"]
        shapes[f"{at}mlp.gate.weight"] = (config["num_experts"], width)
        shapes[f"{at}mlp.gate.expert_bias"] = (config["num_experts"],)
        shapes |= ffn_shapes(f"{at}mlp.shared_experts", width, inner * config["num_shared_experts"])
        for e in range(config["num_experts"]):
            shapes |= ffn_shapes(f"{at}mlp.experts.{e}", width, inner)
    return shapes


def hf_shapes(config: Config) -> Shapes:
    """Tensors of a model in transformers' own format, feed-forward parts included."""
    width, ffn, vocabulary = (
        config["hidden_size"],
        config["intermediate_size"],
        config["vocab_size"],
    )
    head = config.get("head_dim", width // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    qwen = config["model_type"] in ("qwen2", "Dream")
    shapes: Shapes = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocabulary, width)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        attention = {"q_proj": (q, width), "k_proj": (kv, width), "v_proj": (kv, width)}
        shapes |= {f"{at}self_attn.{n}.weight": s for n, s in attention.items()}
        shapes |= {
            f"{at}self_attn.o_proj.weight": (width, q),
            f"{at}mlp.gate_proj.weight": (ffn, width),
            f"{at}mlp.up_proj.weight": (ffn, width),
            f"{at}mlp.down_proj.weight": (width, ffn),
            f"{at}input_layernorm.weight": (width,),
            f"{at}post_attention_layernorm.weight": (width,),
        }
        if qwen or config.get("attention_bias"):
            shapes |= {f"{at}self_attn.{n}.bias": (s[0],) for n, s in attention.items()}
        if config.get("attention_bias"):
            shapes[f"{at}self_attn.o_proj.bias"] = (width,)
        if config.get("mlp_bias"):
            shapes |= {f"{at}mlp.{n}_proj.bias": (ffn,) for n in ("gate", "up")}
            shapes[f"{at}mlp.down_proj.bias"] = (width,)
        if config["model_type"] == "qwen3":
            shapes |= {f"{at}self_attn.{n}_norm.weight": (head,) for n in ("q", "k")}
    return shapes


def draw(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Values at which no part of the model is without effect."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        drawn: Tensor = torch.randn(*shape, generator=rng)
        if len(shape) == 1:
            tensors[name] = drawn * 0.3 + (0 if "bias" in name else 1)
        else:
            tensors[name] = drawn if "embed" in name else drawn * 1.5 * shape[1] ** -0.5
    return tensors


Maker = tuple[Callable[[], Config], Callable[[Config], Shapes]]

MAKERS: dict[str, Maker] = {
    "llama": (llama_config, hf_shapes),
    "llama with biases": (biased_llama_config, hf_shapes),
    "qwen2": (qwen2_config, hf_shapes),
    "qwen3": (qwen3_config, hf_shapes),
    "mistral": (mistral_config, hf_shapes),
    "dream": (dream_config, hf_shapes),
    "llada_moe": (llada_moe_config, llada_moe_shapes),
    "llada2_moe": (llada2_moe_config, llada2_moe_shapes),
}
KINDS = ("llada", "mmada", *MAKERS)


def tiny(
    folder: Path,
    kind: str,
    *,
    seed: int = 0,
    dtype: Callable[[str], torch.dtype] = lambda _: torch.float32,
    shards: int = 1,
    **changes: object,
) -> Path:
    """A random checkpoint of one of `KINDS`; `dtype` says in what each tensor is saved."""
    if kind in MAKERS:
        config_of, shapes_of = MAKERS[kind]
        config = config_of() | changes
        tensors = draw(shapes_of(config), seed)
    else:
        config = {"llada": llada_config, "mmada": mmada_config}[kind]() | changes
        tensors = llada_tensors(config, seed)
    saved = {name: tensor.to(dtype(name)) for name, tensor in tensors.items()}
    return write_checkpoint(folder, config, saved, shards=shards)
