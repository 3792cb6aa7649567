"""Model families as data. A new architecture is a new row in one of the files here."""

from collections.abc import Mapping
from typing import Any

from core.errors import UnsupportedModel
from core.models.families.autoregressive import LLAMA, MISTRAL, QWEN2, QWEN3
from core.models.families.base import (
    ATTENTION_ROLES,
    FFN_ROLES,
    INPUT_OF,
    MODULES,
    Dimensions,
    ExpertLayout,
    Experts,
    Family,
    Llama3Rope,
    Place,
    Role,
    Slot,
)
from core.models.families.experts import LLADA2_MOE, LLADA_MOE
from core.models.families.masked import DREAM, LLADA

__all__ = [
    "ATTENTION_ROLES", "DREAM", "FAMILIES", "FFN_ROLES", "INPUT_OF", "LLADA", "LLADA2_MOE",
    "LLADA_MOE", "LLAMA", "MISTRAL", "MODULES", "QWEN2", "QWEN3", "Dimensions", "ExpertLayout", "Experts", "Family", "Llama3Rope",
    "Place", "Role", "Slot", "family_of",
]  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    LLADA,
    LLADA_MOE,
    LLADA2_MOE,
    DREAM,
    LLAMA,
    QWEN2,
    QWEN3,
    MISTRAL,
)


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint's config.json: by architecture first, since `model_type` is
    shared by models that differ (LLaDA-MoE also says `llada`).

    Raises:
        UnsupportedModel: naming what was found and what would be accepted.
    """
    found_type, found = config.get("model_type"), config.get("architectures")
    architectures = found if isinstance(found, list) else []
    for family in FAMILIES:
        if found_type in family.model_types and (
            not architectures or any(a in family.architectures for a in architectures)
        ):
            return family
    accepted = ", ".join(
        f"{'/'.join(f.model_types)} ({'/'.join(f.architectures)})" for f in FAMILIES
    )
    raise UnsupportedModel(
        f"config.json says model_type {found_type!r:.100}, architectures {architectures!r:.200}.",
        remedy=f"This version prunes: {accepted}.",
    )
