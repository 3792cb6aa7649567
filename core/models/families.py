"""Model families as data: how a checkpoint's names and config keys map to a decoder we run.

Free of torch, so that the API can list families. Tensor names were read off the published
checkpoints (GSAI-ML/LLaDA-8B-Base); no code of theirs is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import UnsupportedModel

Role = Literal["q", "k", "v", "o", "gate", "up", "down"]

INPUT_OF: dict[Role, str] = {
    "q": "attention", "k": "attention", "v": "attention", "o": "mixed",
    "gate": "ffn", "up": "ffn", "down": "gated",
}  # fmt: skip
"""What a matrix reads. Matrices of a block that read the same are measured once."""

MODULES: dict[Role, str] = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""Where each prunable matrix sits in transformers' decoder blocks."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What the numerics need to know of a checkpoint, in one vocabulary for all families."""

    vocabulary: int
    width: int
    blocks: int
    heads: int
    kv_heads: int
    ffn_width: int
    context: int
    norm_eps: float
    rope_theta: float
    tied: bool
    mask_token: int | None
    """None for autoregressive families."""


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table. A new architecture is a new row, never new code in the engine."""

    name: str
    model_type: str
    architectures: tuple[str, ...]
    decoder: Literal["llama"]
    attention: Literal["bidirectional", "causal", "block-causal"]
    process: Literal["llada", "dream", "uniform"]
    """How calibration sequences are noised; `uniform` replaces tokens where there is no mask token."""
    shifted: bool
    """Whether the logits that predict position i stand at i − 1."""
    keys: Mapping[str, str]
    """Field of `Dimensions` → the config key that holds it."""
    required: Mapping[str, tuple[object, ...]]
    """Config keys that change the numerics → the values we run. An absent key is the first."""
    ignored: frozenset[str]
    """Config keys that cannot change a forward pass in evaluation mode."""
    matrices: Mapping[Role, str]
    """Prunable matrices → checkpoint names, with {i} for the block."""
    others: Mapping[str, str]
    """Our names of all other tensors → checkpoint names."""
    head: tuple[str, str]
    """Our and the checkpoint's name of the output head; absent where embeddings are tied."""

    @property
    def bidirectional(self) -> bool:
        return self.attention != "causal"

    def tensor_names(self, dimensions: Dimensions) -> dict[str, str]:
        """Decoder parameter name → checkpoint tensor name, for every tensor there must be."""
        names = {}
        for i in range(dimensions.blocks):
            for role, theirs in self.matrices.items():
                names[f"model.layers.{i}.{MODULES[role]}.weight"] = theirs.format(i=i)
        for ours, theirs in self.others.items():
            blocks = range(dimensions.blocks) if "{i}" in ours else range(1)
            names |= {ours.format(i=i): theirs.format(i=i) for i in blocks}
        if not dimensions.tied:
            names[self.head[0]] = self.head[1]
        return names

    def matrix_name(self, block: int, role: Role) -> str:
        return self.matrices[role].format(i=block)


LLADA = Family(
    name="llada",
    model_type="llada",
    architectures=("LLaDAModelLM",),
    decoder="llama",
    attention="bidirectional",
    process="llada",
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
    },
    ignored=frozenset(
        {
            "_name_or_path", "alibi_bias_max", "architectures", "attention_dropout",
            "attention_layer_norm_with_affine", "auto_map", "bos_token_id", "dtype",
            "embedding_dropout", "eos_token_id", "flash_attention", "init_cutoff_factor",
            "init_device", "init_fn", "init_std", "mlp_ratio", "model_type", "pad_token_id",
            "precision", "residual_dropout", "torch_dtype", "train_max_sequence_length",
            "transformers_version", "use_cache", "vocab_size",
        }
    ),
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
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (LLADA,)


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint's config.json: by architecture first, since `model_type` is
    shared by models that differ (LLaDA-MoE also says `llada`).

    Raises:
        UnsupportedModel: naming what was found and what would be accepted.
    """
    found_type, found = config.get("model_type"), config.get("architectures")
    architectures = found if isinstance(found, list) else []
    for family in FAMILIES:
        if family.model_type == found_type and (
            not architectures or any(a in family.architectures for a in architectures)
        ):
            return family
    accepted = ", ".join(f"{f.model_type} ({'/'.join(f.architectures)})" for f in FAMILIES)
    raise UnsupportedModel(
        f"config.json says model_type {found_type!r}, architectures {architectures!r}.",
        remedy=f"This version prunes: {accepted}.",
    )
