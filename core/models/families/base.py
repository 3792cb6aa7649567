"""What a family is: how a checkpoint's names and config keys map to a decoder that we run.

Free of torch, so that the API can list families.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["q", "k", "v", "o", "gate", "up", "down"]
Attention = Literal["bidirectional", "causal", "block-causal"]
SamplerName = Literal["llada", "dream", "decoding"]

ATTENTION_ROLES: tuple[Role, ...] = ("q", "k", "v", "o")
FFN_ROLES: tuple[Role, ...] = ("gate", "up", "down")

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
"""Where each prunable matrix sits in a decoder block without experts."""


@dataclass(frozen=True, slots=True)
class Llama3Rope:
    """Stretched rotary frequencies of Llama 3.1 and later."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class Experts:
    """The mixture of experts that stands in for the feed-forward part of a block."""

    count: int
    active: int
    """Experts that each token goes through."""
    width: int
    shared_width: int
    """Of the expert that every token goes through as well; 0 where there is none."""
    dense: frozenset[int]
    """Blocks that have an ordinary feed-forward part instead."""
    scores: Literal["softmax", "sigmoid"]
    normalised: bool
    """Whether a token's weights are made to sum to one before scaling."""
    biased: bool
    """Whether a bias, one an expert, takes part in choosing (never in weighting)."""
    groups: int = 1
    active_groups: int = 1
    """Experts are chosen only from so many of the groups that they form."""
    scale: float = 1.0


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
    own_head_dim: int | None = None
    """Where a head is not width / heads wide."""
    biased: frozenset[Role] = frozenset()
    """Matrices that are followed by a bias."""
    rope_scaling: Llama3Rope | None = None
    rotary_share: float = 1.0
    """Of a head's width, what rotary embeddings turn; the rest passes."""
    experts: Experts | None = None

    @property
    def head_dim(self) -> int:
        return self.own_head_dim or self.width // self.heads

    def routed(self, block: int) -> bool:
        """Whether the block's feed-forward part is a mixture of experts."""
        return self.experts is not None and block not in self.experts.dense

    def height(self, role: Role) -> int:
        """Rows of an attention matrix."""
        heads = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads}
        return heads[role] * self.head_dim if role in heads else self.width


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint keeps a tensor of ours."""

    name: str
    rows: tuple[int, int] | None = None
    """Begin and end within a tensor that several of ours share; None for the whole tensor."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One prunable matrix of a block, known before anything is loaded."""

    role: Role
    module: str
    """Path of the linear layer within the block."""
    place: Place
    source: str
    """What it reads, named uniquely within the model."""
    expert: int | None = None


@dataclass(frozen=True, slots=True)
class ExpertLayout:
    """How a family spells its mixture of experts."""

    keys: Mapping[str, str]
    """Field of `Experts`, or `shared` or `first_dense` → the config key that holds it."""
    frequency: str | None
    """The config key that lists 1 for each block with experts, and 0 for each without."""
    scores: Literal["softmax", "sigmoid"]
    normalised: bool
    biased: bool
    matrices: Mapping[Role, str]
    """Checkpoint names, with {i} for the block and {e} for the expert."""
    shared_matrices: Mapping[Role, str]
    router: Mapping[str, str]
    """Our names of the router's tensors → checkpoint names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of the table. A new architecture is a new row, never new code in the engine."""

    name: str
    model_types: tuple[str, ...]
    """What config.json may say; the first is the usual one."""
    architectures: tuple[str, ...]
    decoder: Literal["llama", "qwen2", "qwen3", "mistral", "glm4_moe"]
    """The transformers decoder that computes the same function."""
    attention: Attention
    process: Literal["llada", "dream", "uniform"]
    """How calibration sequences are noised; `uniform` replaces tokens where there is no mask token."""
    sampler: SamplerName
    """How its models write: by uncovering masks, as LLaDA's or Dream's do, or from left to right."""
    shifted: bool
    """Whether the logits that predict position i stand at i − 1."""
    keys: Mapping[str, str]
    """Field of `Dimensions` → the config key that holds it."""
    defaults: Mapping[str, float]
    """Field of `Dimensions` → its value where the key is absent."""
    required: Mapping[str, tuple[object, ...]]
    """Config keys that change the numerics → the values we run. An absent key is the first."""
    ignored: frozenset[str]
    """Config keys that cannot change a forward pass in evaluation mode."""
    matrices: Mapping[Role, str]
    """Prunable matrices → checkpoint names, with {i} for the block. Roles with one name are rows
    of one tensor, in the order of roles."""
    others: Mapping[str, str]
    """Our names of all other tensors → checkpoint names."""
    head: tuple[str, str] = ("lm_head.weight", "lm_head.weight")
    """Our and the checkpoint's name of the output head; absent where embeddings are tied."""
    biases: frozenset[Role] = frozenset()
    """Matrices that always have a bias."""
    bias_keys: Mapping[str, frozenset[Role]]
    """Config flag → matrices that have a bias where it is true."""
    implied: Mapping[str, Callable[[Dimensions], object]]
    """Config keys that must not contradict the rest → what the rest implies."""
    window: str | None = None
    """The config key of an attention window, which must reach over the whole context."""
    rope_dicts: bool = True
    """Whether rotary settings may come as `rope_scaling` or `rope_parameters`."""
    leftovers: tuple[str, ...] = ()
    """Tensors that may be there and hold nothing of their own."""
    block_size: int | None = None
    """Positions that see each other in block-causal attention."""
    experts: ExpertLayout | None = None

    @property
    def model_type(self) -> str:
        return self.model_types[0]

    @property
    def bidirectional(self) -> bool:
        return self.attention != "causal"

    @property
    def objective(self) -> Literal["nelbo", "likelihood"]:
        """What the loss of this family is: a bound for diffusion, exact for autoregression."""
        return "nelbo" if self.bidirectional else "likelihood"

    @property
    def span(self) -> int | None:
        """Position i sees j exactly if j // span ≤ i // span; None where it sees all."""
        return {"bidirectional": None, "causal": 1, "block-causal": self.block_size}[self.attention]

    def slots(self, dimensions: Dimensions, block: int) -> list[Slot]:
        """The block's prunable matrices in the order q, k, v, o, gate, up, down, experts last."""
        found = [
            Slot(role, MODULES[role], self._place(dimensions, role, block), _source(block, role))
            for role in ATTENTION_ROLES
        ]
        if not dimensions.routed(block):
            return found + [
                Slot(role, MODULES[role], Place(self.matrices[role].format(i=block)), _source(block, role))
                for role in FFN_ROLES
            ]  # fmt: skip
        return found + self._expert_slots(dimensions, block)

    def _place(self, dimensions: Dimensions, role: Role, block: int) -> Place:
        name = self.matrices[role]
        sharers = [r for r in ATTENTION_ROLES if self.matrices[r] == name]
        if len(sharers) == 1:
            return Place(name.format(i=block))
        begin = sum(dimensions.height(r) for r in sharers[: sharers.index(role)])
        return Place(name.format(i=block), (begin, begin + dimensions.height(role)))

    def _expert_slots(self, dimensions: Dimensions, block: int) -> list[Slot]:
        layout, experts = self.experts, dimensions.experts
        assert layout is not None
        assert experts is not None
        shared = [
            Slot(
                role,
                MODULES[role].replace("mlp.", "mlp.shared."),
                Place(layout.shared_matrices[role].format(i=block)),
                _source(block, role, "shared."),
            )
            for role in FFN_ROLES
            if experts.shared_width
        ]
        return shared + [
            Slot(
                role,
                MODULES[role].replace("mlp.", f"mlp.experts.{e}."),
                Place(layout.matrices[role].format(i=block, e=e)),
                _source(block, role, f"expert.{e}."),
                e,
            )
            for e in range(experts.count)
            for role in FFN_ROLES
        ]

    def tensors(self, dimensions: Dimensions) -> dict[str, Place]:
        """Decoder parameter name → where the checkpoint keeps it, for every tensor there must be."""
        found: dict[str, Place] = {}
        for i in range(dimensions.blocks):
            at = f"model.layers.{i}."
            for slot in self.slots(dimensions, i):
                found[f"{at}{slot.module}.weight"] = slot.place
                if slot.role in dimensions.biased:
                    name = slot.place.name.removesuffix("weight") + "bias"
                    found[f"{at}{slot.module}.bias"] = Place(name, slot.place.rows)
            if dimensions.routed(i) and self.experts is not None:
                for ours, theirs in self.experts.router.items():
                    found[at + ours] = Place(theirs.format(i=i))
        for ours, theirs in self.others.items():
            blocks = range(dimensions.blocks) if "{i}" in ours else range(1)
            found |= {ours.format(i=i): Place(theirs.format(i=i)) for i in blocks}
        if not dimensions.tied:
            found[self.head[0]] = Place(self.head[1])
        return found

    def tolerated(self, dimensions: Dimensions) -> frozenset[str]:
        """Tensors that the checkpoint may hold beside those there must be."""
        names = {t.format(i=i) for t in self.leftovers for i in range(dimensions.blocks)}
        return frozenset(names | ({self.head[1]} if dimensions.tied else set()))


def _source(block: int, role: Role, part: str = "") -> str:
    return f"{block}.{part}{INPUT_OF[role]}"
