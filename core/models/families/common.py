"""What families in transformers' own format share: config keys and tensor names."""

from collections.abc import Callable, Mapping

from core.models.families.base import MODULES, Dimensions, Role

HF_KEYS: dict[str, str] = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "blocks": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ffn_width": "intermediate_size",
    "context": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
    "tied": "tie_word_embeddings",
}

HF_REQUIRED: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "is_encoder_decoder": (False,),
    "rope_interleaved": (False,),
}

HF_IGNORED = frozenset(
    {
        "_name_or_path", "architectures", "attention_dropout", "auto_map", "bos_token_id", "dtype",
        "eos_token_id", "initializer_range", "model_type", "pad_token_id", "pretraining_tp",
        "torch_dtype", "transformers_version", "use_cache",
    }
)  # fmt: skip
"""`pretraining_tp` cuts matrix products in pieces, which only rounding sees."""

HF_MATRICES: dict[Role, str] = {
    role: f"model.layers.{{i}}.{module}.weight" for role, module in MODULES.items()
}

HF_OTHERS: dict[str, str] = {
    name: name
    for name in (
        "model.embed_tokens.weight",
        "model.layers.{i}.input_layernorm.weight",
        "model.layers.{i}.post_attention_layernorm.weight",
        "model.norm.weight",
    )
}

HEAD_NORMS: dict[str, str] = {
    name: name
    for name in (
        "model.layers.{i}.self_attn.q_norm.weight",
        "model.layers.{i}.self_attn.k_norm.weight",
    )
}
"""Of models that normalise each head's query and key."""

HF_IMPLIED: Mapping[str, Callable[[Dimensions], object]] = {
    "layer_types": lambda d: ["full_attention"] * d.blocks,
}
