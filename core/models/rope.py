"""Rotary settings of a config.json, in the spellings of transformers 4 and 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import BrokenCheckpoint, UnsupportedModel
from core.models.config_values import Reader, listed, shown
from core.models.families import Llama3Rope

DICTS = ("rope_scaling", "rope_parameters")
LLAMA3_KEYS = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
}
ORIGINAL_CONTEXT = "original_max_position_embeddings"


@dataclass(frozen=True, slots=True)
class Rope:
    """What `rope_scaling` or `rope_parameters` says; None where it leaves that to other keys."""

    theta: float | None = None
    scaling: Llama3Rope | None = None
    rotary_share: float | None = None


def read_rope(config: Mapping[str, Any]) -> Rope:
    """The rotary settings beside a plain `rope_theta`.

    Raises:
        UnsupportedModel: a kind of scaling, or a setting, that we do not run.
        BrokenCheckpoint: both spellings at once, or an impossible value.
    """
    given = {key: config[key] for key in DICTS if config.get(key) is not None}
    if not given:
        return Rope()
    if len(given) > 1:
        raise BrokenCheckpoint("config.json has both rope_scaling and rope_parameters.")
    (key, settings), = given.items()  # fmt: skip
    if not isinstance(settings, dict):
        raise BrokenCheckpoint(f"config.json: {key} must be an object, not {shown(settings)}.")
    kind = settings.get("rope_type", settings.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise UnsupportedModel(
            f"config.json has {key} of type {shown(kind)}.",
            remedy="`default` and `llama3` can be run.",
        )
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
    if kind == "llama3":
        known |= {*LLAMA3_KEYS.values(), ORIGINAL_CONTEXT}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UnsupportedModel(f"config.json: {key} has unknown settings: {listed(unknown)}.")
    return Rope(
        _number(settings, "rope_theta", key) if "rope_theta" in settings else None,
        _llama3(settings, key) if kind == "llama3" else None,
        _number(settings, "partial_rotary_factor", key)
        if "partial_rotary_factor" in settings
        else None,
    )


def _llama3(settings: Mapping[str, Any], key: str) -> Llama3Rope:
    found = {field: _number(settings, name, key) for field, name in LLAMA3_KEYS.items()}
    return Llama3Rope(
        found["factor"],
        found["low_freq_factor"],
        found["high_freq_factor"],
        Reader(settings, {"context": ORIGINAL_CONTEXT}, {}, within=f"{key}.").whole("context"),
    )


def _number(settings: Mapping[str, Any], name: str, key: str) -> float:
    return Reader(settings, {name: name}, {}, within=f"{key}.").positive(name)
