"""Autoregressive models in transformers' own format, to stand beside the diffusion models."""

from dataclasses import replace

from core.models.families.base import ATTENTION_ROLES, FFN_ROLES, Family, Role
from core.models.families.common import (
    HEAD_NORMS,
    HF_IGNORED,
    HF_IMPLIED,
    HF_KEYS,
    HF_MATRICES,
    HF_OTHERS,
    HF_REQUIRED,
)

ATTENTION_BIAS: dict[str, frozenset[Role]] = {"attention_bias": frozenset(ATTENTION_ROLES)}
MLP_BIAS: dict[str, frozenset[Role]] = {"mlp_bias": frozenset(FFN_ROLES)}
OWN_HEADS = HF_KEYS | {"own_head_dim": "head_dim"}
DEFAULTS = {"norm_eps": 1e-6, "rope_theta": 10000.0}

LLAMA = Family(
    name="llama",
    model_types=("llama",),
    architectures=("LlamaForCausalLM",),
    decoder="llama",
    attention="causal",
    process="uniform",
    sampler="decoding",
    shifted=True,
    keys=OWN_HEADS,
    defaults=DEFAULTS,
    required=HF_REQUIRED,
    ignored=HF_IGNORED,
    matrices=HF_MATRICES,
    others=HF_OTHERS,
    bias_keys=ATTENTION_BIAS | MLP_BIAS,
    implied=HF_IMPLIED,
    leftovers=("model.layers.{i}.self_attn.rotary_emb.inv_freq",),
)

QWEN2 = replace(
    LLAMA,
    name="qwen2",
    model_types=("qwen2",),
    architectures=("Qwen2ForCausalLM",),
    decoder="qwen2",
    keys=HF_KEYS,
    required=HF_REQUIRED | {"use_sliding_window": (False,), "use_mrope": (False,)},
    ignored=HF_IGNORED | {"sliding_window", "max_window_layers"},
    biases=frozenset({"q", "k", "v"}),
    bias_keys={},
    leftovers=(),
)

QWEN3 = replace(
    LLAMA,
    name="qwen3",
    model_types=("qwen3",),
    architectures=("Qwen3ForCausalLM",),
    decoder="qwen3",
    defaults=DEFAULTS | {"own_head_dim": 128},
    required=HF_REQUIRED | {"use_sliding_window": (False,)},
    ignored=HF_IGNORED | {"sliding_window", "max_window_layers"},
    others=HF_OTHERS | HEAD_NORMS,
    bias_keys=ATTENTION_BIAS,
    leftovers=(),
)

MISTRAL = replace(
    LLAMA,
    name="mistral",
    model_types=("mistral",),
    architectures=("MistralForCausalLM",),
    decoder="mistral",
    bias_keys={},
    leftovers=(),
    window="sliding_window",
)
