"""Masked diffusion models with mixtures of experts: LLaDA-MoE and LLaDA2.

Names, router and constants follow the publisher's inference and training code; what their
config.json does not hold (mask token, block length) is a constant of the family here.
"""

from core.models.families.base import FFN_ROLES, ExpertLayout, Family
from core.models.families.common import (
    HEAD_NORMS,
    HF_IGNORED,
    HF_KEYS,
    HF_MATRICES,
    HF_OTHERS,
    HF_REQUIRED,
)

MASK_TOKEN = 156895

LLADA_MOE = Family(
    name="llada_moe",
    model_types=("llada",),
    architectures=("LLaDAMoEModelLM", "LLaDAMoEModel"),
    decoder="qwen3",
    attention="bidirectional",
    process="llada",
    sampler="llada",
    shifted=False,
    keys=HF_KEYS
    | {
        "ffn_width": "dense_intermediate_size",
        "mask_token": "mask_token_id",
        "own_head_dim": "head_dim",
    },
    defaults={"mask_token": MASK_TOKEN},
    required=HF_REQUIRED
    | {
        "attention_bias": (False, None),
        "clip_qkv": (None,),
        "moe_router_enable_expert_bias": (False, None),
        "moe_router_score_function": ("softmax", None),
        "norm_topk_prob": (None, False),
        "partial_rotary_factor": (1, 1.0, None),
        "qk_layernorm": (True,),
        "routed_scaling_factor": (1, 1.0, None),
        "router_num_group": (None, 1),
        "router_topk_group": (None, 1),
        "shared_expert_intermediate_size": (None, 0),
    },
    ignored=HF_IGNORED | {"output_router_logits", "router_aux_loss_coef"},
    matrices=HF_MATRICES,
    others=HF_OTHERS | HEAD_NORMS,
    bias_keys={},
    implied={},
    experts=ExpertLayout(
        keys={
            "count": "num_experts",
            "active": "num_experts_per_tok",
            "width": "expert_intermediate_size",
        },
        frequency="moe_layer_freq",
        scores="softmax",
        normalised=False,
        biased=False,
        matrices={r: f"model.layers.{{i}}.mlp.experts.{{e}}.{r}_proj.weight" for r in FFN_ROLES},
        shared_matrices={},
        router={"mlp.router.weight": "model.layers.{i}.mlp.gate.weight"},
    ),
)

LLADA2_MOE = Family(
    name="llada2_moe",
    model_types=("llada2_moe",),
    architectures=("LLaDA2MoeModelLM",),
    decoder="glm4_moe",
    attention="block-causal",
    block_size=32,
    process="llada",
    sampler="llada",
    shifted=False,
    keys=HF_KEYS
    | {
        "mask_token": "mask_token_id",
        "own_head_dim": "head_dim",
        "rotary_share": "partial_rotary_factor",
    },
    defaults={"mask_token": MASK_TOKEN},
    required=HF_REQUIRED
    | {
        "moe_router_enable_expert_bias": (True, None),
        "norm_head": (False, None),
        "norm_softmax": (False, None),
        "norm_topk_prob": (True, None),
        "num_nextn_predict_layers": (0, None),
        "router_dtype": ("fp32", None),
        "score_function": ("sigmoid", None),
        "use_bias": (False, None),
        "use_qk_norm": (True, None),
        "use_qkv_bias": (False, None),
        "use_rmsnorm": (True, None),
        "use_sliding_window": (False, None),
        "using_split_qkv_in_self_attention": (False, None),
    },
    ignored=HF_IGNORED
    | {
        "embedding_dropout", "max_window_layers", "output_dropout", "output_router_logits",
        "router_aux_loss_coef", "sliding_window",
    },
    matrices=HF_MATRICES
    | {
        "q": "model.layers.{i}.attention.query_key_value.weight",
        "k": "model.layers.{i}.attention.query_key_value.weight",
        "v": "model.layers.{i}.attention.query_key_value.weight",
        "o": "model.layers.{i}.attention.dense.weight",
    },
    others=HF_OTHERS
    | {
        "model.embed_tokens.weight": "model.word_embeddings.weight",
        "model.layers.{i}.self_attn.q_norm.weight": "model.layers.{i}.attention.query_layernorm.weight",
        "model.layers.{i}.self_attn.k_norm.weight": "model.layers.{i}.attention.key_layernorm.weight",
    },
    bias_keys={},
    implied={"rotary_dim": lambda d: round(d.head_dim * d.rotary_share)},
    experts=ExpertLayout(
        keys={
            "count": "num_experts",
            "active": "num_experts_per_tok",
            "width": "moe_intermediate_size",
            "shared": "num_shared_experts",
            "first_dense": "first_k_dense_replace",
            "groups": "n_group",
            "active_groups": "topk_group",
            "scale": "routed_scaling_factor",
        },
        frequency=None,
        scores="sigmoid",
        normalised=True,
        biased=True,
        matrices={r: f"model.layers.{{i}}.mlp.experts.{{e}}.{r}_proj.weight" for r in FFN_ROLES},
        shared_matrices={
            r: f"model.layers.{{i}}.mlp.shared_experts.{r}_proj.weight" for r in FFN_ROLES
        },
        router={
            "mlp.router.weight": "model.layers.{i}.mlp.gate.weight",
            "mlp.router.bias": "model.layers.{i}.mlp.gate.expert_bias",
        },
    ),
)  # fmt: skip
