"""Which transformers decoder computes a family's function, and how our dimensions set it up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from core.models import attention
from core.models.experts import MixtureOfExperts
from core.models.families import Dimensions, Family


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row: decoder, its config, and settings that the other decoders do not have."""

    model: Callable[[Any], Any]
    config: Callable[..., Any]
    settings: Callable[[Dimensions], dict[str, Any]]


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(
        LlamaForCausalLM,
        LlamaConfig,
        lambda d: {"attention_bias": "o" in d.biased, "mlp_bias": "down" in d.biased},
    ),
    "qwen2": Architecture(Qwen2ForCausalLM, Qwen2Config, lambda _: {"use_sliding_window": False}),
    "qwen3": Architecture(
        Qwen3ForCausalLM,
        Qwen3Config,
        lambda d: {"attention_bias": "o" in d.biased, "use_sliding_window": False},
    ),
    "mistral": Architecture(MistralForCausalLM, MistralConfig, lambda _: {"sliding_window": None}),
    "glm4_moe": Architecture(
        Glm4MoeForCausalLM,
        Glm4MoeConfig,
        # Built without experts of its own: ours take their place, since its are no linear layers.
        lambda d: {"use_qk_norm": True, "first_k_dense_replace": d.blocks, "num_mtp_layers": 0},
    ),
}


def empty(family: Family, dimensions: Dimensions) -> Any:
    """The family's decoder without memory behind its parameters."""
    row = ARCHITECTURES[family.decoder]
    config = row.config(
        vocab_size=dimensions.vocabulary,
        hidden_size=dimensions.width,
        intermediate_size=dimensions.ffn_width,
        num_hidden_layers=dimensions.blocks,
        num_attention_heads=dimensions.heads,
        num_key_value_heads=dimensions.kv_heads,
        head_dim=dimensions.head_dim,
        max_position_embeddings=dimensions.context,
        rms_norm_eps=dimensions.norm_eps,
        rope_parameters=_rope_parameters(dimensions),
        tie_word_embeddings=dimensions.tied,
        attn_implementation=attention.NAME,
        **row.settings(dimensions),
    )
    with torch.device("meta"):
        model = row.model(config)
        for block, layer in enumerate(model.model.layers):
            if dimensions.experts is not None and dimensions.routed(block):
                layer.mlp = MixtureOfExperts(dimensions.width, dimensions.experts)
    return model


def _rope_parameters(dimensions: Dimensions) -> dict[str, Any]:
    plain = {
        "rope_type": "default",
        "rope_theta": dimensions.rope_theta,
        "partial_rotary_factor": dimensions.rotary_share,
    }
    scaling = dimensions.rope_scaling
    if scaling is None:
        return plain
    return plain | {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def finish(model: Any, family: Family, device: torch.device) -> None:
    """Make ready for evaluation what was built without memory and has been given its parameters."""
    # Rotary frequencies are no tensors of the checkpoint: make them anew off the meta device.
    rotary: nn.Module = type(model.model.rotary_emb)(config=model.config)
    model.model.rotary_emb = rotary.to(device)
    for layer in model.model.layers:
        layer.self_attn.span = family.span
    model.requires_grad_(requires_grad=False).eval()
