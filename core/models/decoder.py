"""A loaded model: transformers' decoder under our names for blocks and matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from core.errors import BrokenCheckpoint
from core.models.architectures import empty, finish
from core.models.checkpoint import DTYPES, Checkpoint, check_finite
from core.models.config import read_config
from core.models.families import Dimensions, Family, Role
from core.models.footprint import ROUTER, compute_dtype
from core.models.past import past_now
from core.models.shapes import tensor_shapes


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

    def __init__(
        self,
        model: Any,
        family: Family,
        dimensions: Dimensions,
        stored: Mapping[str, torch.dtype],
    ) -> None:
        self._model, self.family, self.dimensions = model, family, dimensions
        self._stored = stored
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
        return self.embedding.element_size()

    @property
    def embedding(self) -> Tensor:
        """(vocabulary, width)."""
        weight: Tensor = self._model.model.embed_tokens.weight
        return weight

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self._model.parameters())

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters that are in memory, in the dtypes that they are held in."""
        held = (p for p in self._model.parameters() if not p.is_meta)
        return sum(p.numel() * p.element_size() for p in held)

    @property
    def has_head(self) -> bool:
        """Whether the head was loaded; watching attention needs none."""
        return not self._model.lm_head.weight.is_meta

    def matrices(self, block: int) -> list[Matrix]:
        """The block's prunable matrices, in the order q, k, v, o, gate, up, down; experts last."""
        found = []
        for slot in self.family.slots(self.dimensions, block):
            linear = cast("nn.Linear", self.blocks[block].get_submodule(slot.module))
            name, rows = slot.place.name, slot.place.rows
            dtype = self._stored.get(name, linear.weight.dtype)
            found.append(
                Matrix(block, slot.role, name, linear, slot.source, dtype, slot.expert, rows)
            )
        return found

    def all_matrices(self) -> list[Matrix]:
        return [m for block in range(len(self.blocks)) for m in self.matrices(block)]

    def embed(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self._model.model.embed_tokens(ids.to(self.device))
        return hidden

    def run_block(self, block: int, hidden: Tensor) -> Tensor:
        past = past_now()
        first = 0 if past is None else past.positions(block)
        positions = torch.arange(first, first + hidden.shape[1], device=hidden.device)[None]
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
        if not self.has_head:
            raise ValueError("the model was loaded without its head")
        logits: Tensor = self._model.lm_head(features)
        return logits


def load(checkpoint: Checkpoint, device: torch.device, *, head: bool = True) -> Decoder:
    """The checkpoint's decoder on `device`, ready for evaluation; without its head, which is then
    not read, where that is not the embedding anyway and `head` is false.

    It computes in the dtype that prunable matrices, embedding and head are saved in; where these
    differ, in float32, which holds every one of them exactly. Norms and biases follow; a router
    keeps its own.

    Raises:
        UnsupportedModel, BrokenCheckpoint: see `read_config`, `Checkpoint.require`, `check_finite`.
    """
    family, dimensions = read_config(checkpoint.intake.folder)
    checkpoint.require(tensor_shapes(family, dimensions), family.tolerated(dimensions))
    places = family.tensors(dimensions)
    dtype = DTYPES[compute_dtype(checkpoint.places, family, dimensions)]
    if not head:
        places.pop(family.head[0], None)
    checkpoint.fetch(place.name for place in places.values())
    state = {}
    for ours, place in places.items():
        tensor = checkpoint.read(place.name, place.rows)
        check_finite(place.name, tensor)
        kept = tensor.dtype if ROUTER in ours else dtype
        # A copy, since weights are pruned in place and the file behind the map must not change.
        state[ours] = tensor.to(device, kept, copy=True)
    _check_tied_head(checkpoint, family, dimensions)
    stored = {place.name: checkpoint.dtype(place.name) for place in places.values()}
    return build(family, dimensions, state, stored)


def build(
    family: Family,
    dimensions: Dimensions,
    state: Mapping[str, Tensor],
    stored: Mapping[str, torch.dtype] | None = None,
) -> Decoder:
    """A decoder from tensors under our parameter names, which it takes as they are; `stored` says
    in which dtypes a checkpoint keeps them, by its own names, where these are not the tensors'.
    Only the head may be left out."""
    model = empty(family, dimensions)
    model.load_state_dict(state, strict=family.head[0] in state, assign=True)
    if dimensions.tied:
        model.tie_weights()
    finish(model, family, next(iter(state.values())).device)
    return Decoder(model, family, dimensions, stored or {})


def _check_tied_head(checkpoint: Checkpoint, family: Family, dimensions: Dimensions) -> None:
    """A head that is saved beside the embedding it is tied to must be the same tensor."""
    head, embedding = family.head[1], family.others["model.embed_tokens.weight"]
    places = checkpoint.places
    if not dimensions.tied or head not in places:
        return
    same = (
        places[head].shape == places[embedding].shape
    )  # of an empty head there is nothing to read
    if not same or not torch.equal(checkpoint.read(head), checkpoint.read(embedding)):
        raise BrokenCheckpoint(
            f"config.json ties {head} to {embedding}, and the two differ.",
            remedy="Untie them in config.json if the head is its own.",
        )
