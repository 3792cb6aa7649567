"""A loaded model: transformers' decoder under our names for blocks and matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from core.models import attention
from core.models.checkpoint import Checkpoint, check_finite
from core.models.config import read_config
from core.models.families import INPUT_OF, MODULES, Dimensions, Family, Role


@dataclass(frozen=True, slots=True)
class Matrix:
    """One prunable matrix of one block."""

    block: int
    role: Role
    name: str
    """The checkpoint's own tensor name."""
    linear: nn.Linear
    source: str
    """Names what the matrix reads: matrices with the same source share one input."""
    dtype: torch.dtype
    """What the checkpoint stores it in; the decoder may compute in a wider one."""
    expert: int | None = None
    """Which expert of its block it belongs to; None outside of experts."""
    rows: tuple[int, int] | None = None
    """The rows of the tensor `name` that this is; None where it is the whole tensor."""

    @property
    def key(self) -> str:
        """Names the matrix among all of its model's: its tensor, and its rows if only some."""
        return self.name if self.rows is None else f"{self.name}[{self.rows[0]}:{self.rows[1]}]"


class Decoder:
    """A causal or bidirectional decoder whose blocks can be run one at a time.

    Shapes: ids (batch, positions) int64; hidden (batch, positions, width) in the model's dtype.
    """

    def __init__(self, model: Any, family: Family, dimensions: Dimensions) -> None:
        self._model, self.family, self.dimensions = model, family, dimensions
        self.blocks: Sequence[nn.Module] = model.model.layers
        self.block_sequences = 0
        """Sequences that went through a block, summed over blocks: what a run really computed."""

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.device
        return device

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation."""
        size: int = self._model.model.embed_tokens.weight.element_size()
        return size

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self._model.parameters())

    def matrices(self, block: int) -> list[Matrix]:
        """The block's prunable matrices, in the order q, k, v, o, gate, up, down."""
        return [
            Matrix(
                block,
                role,
                self.family.matrix_name(block, role),
                linear := cast("nn.Linear", self.blocks[block].get_submodule(MODULES[role])),
                f"{block}.{INPUT_OF[role]}",
                linear.weight.dtype,
            )
            for role in self.family.matrices
        ]

    def all_matrices(self) -> list[Matrix]:
        return [m for block in range(len(self.blocks)) for m in self.matrices(block)]

    def embed(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self._model.model.embed_tokens(ids.to(self.device))
        return hidden

    def run_block(self, block: int, hidden: Tensor) -> Tensor:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        rotary = self._model.model.rotary_emb(hidden, position_ids=positions)
        self.block_sequences += len(hidden)
        output: Tensor = self.blocks[block](
            hidden, attention_mask=None, position_ids=positions, position_embeddings=rotary
        )
        return output

    def run_blocks(self, ids: Tensor) -> Tensor:
        """Embeddings and blocks, without final norm and head."""
        hidden = self.embed(ids)
        for block in range(len(self.blocks)):
            hidden = self.run_block(block, hidden)
        return hidden

    def features(self, ids: Tensor) -> Tensor:
        """(batch, positions, width) after the final norm: what the head reads."""
        normed: Tensor = self._model.model.norm(self.run_blocks(ids))
        return normed

    def head(self, features: Tensor) -> Tensor:
        """Logits (…, vocabulary) from features (…, width), in the model's dtype."""
        logits: Tensor = self._model.lm_head(features)
        return logits


def tensor_shapes(family: Family, dimensions: Dimensions) -> dict[str, tuple[int, ...]]:
    """Every tensor the checkpoint must hold → its shape, found by building the model without memory."""
    with torch.device("meta"):
        parameters = dict(_empty(family, dimensions).named_parameters())
    names = family.tensor_names(dimensions)
    return {theirs: tuple(parameters[ours].shape) for ours, theirs in names.items()}


def load(checkpoint: Checkpoint, device: torch.device) -> Decoder:
    """The checkpoint's decoder on `device`, in the dtypes it was saved in, ready for evaluation.

    Raises:
        UnsupportedModel, BrokenCheckpoint: see `read_config`, `Checkpoint.require`, `check_finite`.
    """
    family, dimensions = read_config(checkpoint.intake.folder)
    checkpoint.require(tensor_shapes(family, dimensions))
    state = {}
    for ours, theirs in family.tensor_names(dimensions).items():
        tensor = checkpoint.read(theirs)
        check_finite(theirs, tensor)
        # A clone, since weights are pruned in place and the file behind the map must not change.
        state[ours] = tensor.clone().to(device)
    return build(family, dimensions, state)


def build(family: Family, dimensions: Dimensions, state: Mapping[str, Tensor]) -> Decoder:
    """A decoder from tensors under our parameter names, which it takes as they are."""
    with torch.device("meta"):
        model = _empty(family, dimensions)
    model.load_state_dict(state, strict=not dimensions.tied, assign=True)
    if dimensions.tied:
        model.tie_weights()
    _restore_buffers(model, next(iter(state.values())).device)
    model.requires_grad_(requires_grad=False).eval()
    _set_causality(model, causal=not family.bidirectional)
    return Decoder(model, family, dimensions)


def _empty(family: Family, dimensions: Dimensions) -> Any:
    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=dimensions.vocabulary,
        hidden_size=dimensions.width,
        intermediate_size=dimensions.ffn_width,
        num_hidden_layers=dimensions.blocks,
        num_attention_heads=dimensions.heads,
        num_key_value_heads=dimensions.kv_heads,
        max_position_embeddings=dimensions.context,
        rms_norm_eps=dimensions.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": dimensions.rope_theta},
        tie_word_embeddings=dimensions.tied,
        attn_implementation=attention.NAME,
    )
    return {"llama": LlamaForCausalLM}[family.decoder](config)


def _restore_buffers(model: Any, device: torch.device) -> None:
    """Rotary frequencies are no tensors of the checkpoint: make them anew off the meta device."""
    rotary = type(model.model.rotary_emb)(config=model.config)
    model.model.rotary_emb = rotary.to(device)


def _set_causality(model: Any, *, causal: bool) -> None:
    """Both places matter: masks are made from the config, kernels are called from the layers."""
    model.config.is_causal = causal
    for layer in model.model.layers:
        layer.self_attn.is_causal = causal
