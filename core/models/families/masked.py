"""Masked diffusion models without experts: LLaDA and its kin, and Dream.

Tensor names are those of the published checkpoints (GSAI-ML/LLaDA-8B-Base, Dream-org/Dream-v0); no code
of theirs is used.
"""

from dataclasses import replace

from core.models.families.autoregressive import QWEN2
from core.models.families.base import Family
from core.models.families.common import HF_KEYS

MMADA_IGNORED = frozenset(
    {
        "codebook_size", "gradient_checkpointing", "llm_model_path", "llm_vocab_size",
        "new_vocab_size", "num_new_special_tokens", "num_vq_tokens", "pretrained_model_path",
        "w_clip_vit",
    }
)  # fmt: skip
"""How MMaDA's image codes were added to LLaDA's vocabulary: the tensors' shapes already say it."""

LLADA = Family(
    name="llada",
    model_types=("llada", "mmada"),
    architectures=("LLaDAModelLM", "MMadaModelLM"),
    decoder="llama",
    attention="bidirectional",
    process="llada",
    sampler="llada",
    shifted=False,
    keys={
        "vocabulary": "embedding_size",
        "width": "d_model",
        "blocks": "n_layers",
        "heads": "n_heads",
        "kv_heads": "n_kv_heads",
        "ffn_width": "mlp_hidden_size",
        "context": "max_sequence_length",
        "norm_eps": "rms_norm_eps",
        "rope_theta": "rope_theta",
        "tied": "weight_tying",
        "mask_token": "mask_token_id",
    },
    defaults={"norm_eps": 1e-5, "rope_theta": 10000.0},
    required={
        "activation_type": ("silu",),
        "alibi": (False,),
        "attention_layer_norm": (False,),
        "bias_for_layer_norm": (False, None),
        "block_group_size": (1,),
        "block_type": ("llama",),
        "include_bias": (False,),
        "include_qkv_bias": (False, None),
        "input_emb_norm": (False,),
        "layer_norm_type": ("rms",),
        "layer_norm_with_affine": (True,),
        "multi_query_attention": (None, False),
        "rope": (True,),
        "rope_full_precision": (True,),
        "scale_logits": (False,),
        "clip_qkv": (None,),
        "tie_word_embeddings": (False, None),
    },
    ignored=MMADA_IGNORED
    | {
        "_name_or_path", "alibi_bias_max", "architectures", "attention_dropout",
        "attention_layer_norm_with_affine", "auto_map", "bos_token_id", "dtype",
        "embedding_dropout", "eos_token_id", "flash_attention", "init_cutoff_factor",
        "init_device", "init_fn", "init_std", "mlp_ratio", "model_type", "pad_token_id",
        "precision", "residual_dropout", "torch_dtype", "train_max_sequence_length",
        "transformers_version", "use_cache", "vocab_size",
    },
    matrices={
        "q": "model.transformer.blocks.{i}.q_proj.weight",
        "k": "model.transformer.blocks.{i}.k_proj.weight",
        "v": "model.transformer.blocks.{i}.v_proj.weight",
        "o": "model.transformer.blocks.{i}.attn_out.weight",
        "gate": "model.transformer.blocks.{i}.ff_proj.weight",
        "up": "model.transformer.blocks.{i}.up_proj.weight",
        "down": "model.transformer.blocks.{i}.ff_out.weight",
    },
    others={
        "model.embed_tokens.weight": "model.transformer.wte.weight",
        "model.layers.{i}.input_layernorm.weight": "model.transformer.blocks.{i}.attn_norm.weight",
        "model.layers.{i}.post_attention_layernorm.weight": "model.transformer.blocks.{i}.ff_norm.weight",
        "model.norm.weight": "model.transformer.ln_f.weight",
    },
    head=("lm_head.weight", "model.transformer.ff_out.weight"),
    bias_keys={},
    implied={},
    rope_dicts=False,
)  # fmt: skip

DREAM = replace(
    QWEN2,
    name="dream",
    model_types=("Dream",),
    architectures=("DreamModel",),
    attention="bidirectional",
    process="dream",
    sampler="dream",
    keys=HF_KEYS | {"mask_token": "mask_token_id"},
)
