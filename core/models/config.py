"""Reading config.json: our own parsing, nothing in it is ever executed or passed on unseen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import BrokenCheckpoint, ModelNotFound, UnsupportedModel
from core.models.families import Dimensions, Family, family_of

MAX_CONFIG_BYTES = 1_000_000


def read_config(folder: Path) -> tuple[Family, Dimensions]:
    """Family and dimensions of the checkpoint in `folder`.

    Raises:
        ModelNotFound: there is no config.json.
        BrokenCheckpoint: it is not a JSON object, or a key has an impossible value.
        UnsupportedModel: an unknown family or a key that could change the numerics.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(
            f"{folder} has no config.json.", remedy="Point at a folder in Hugging Face layout."
        )
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise BrokenCheckpoint(f"config.json is larger than {MAX_CONFIG_BYTES} bytes.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenCheckpoint(f"config.json is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise BrokenCheckpoint("config.json is not a JSON object.")
    family = family_of(config)
    _check_keys(config, family)
    return family, _dimensions(config, family)


def _check_keys(config: Mapping[str, Any], family: Family) -> None:
    known = set(family.keys.values()) | set(family.required) | family.ignored
    unknown = sorted(set(config) - known)
    if unknown:
        raise UnsupportedModel(
            f"config.json has keys that are unknown for family {family.name}: {', '.join(unknown)}.",
            remedy="They could change the numerics, so they are not ignored; remove them if they do not.",
        )
    for key, accepted in family.required.items():
        value = config.get(key, accepted[0])
        if not any(value is a or (type(value) is type(a) and value == a) for a in accepted):
            raise UnsupportedModel(
                f"config.json has {key} = {value!r}; family {family.name} runs with {accepted[0]!r}."
            )


def _dimensions(config: Mapping[str, Any], family: Family) -> Dimensions:
    get = _Reader(config, family)
    width, heads = get.whole("width"), get.whole("heads")
    found = Dimensions(
        vocabulary=get.whole("vocabulary", fallback="vocab_size"),
        width=width,
        blocks=get.whole("blocks"),
        heads=heads,
        kv_heads=get.whole("kv_heads", default=heads),
        ffn_width=get.whole("ffn_width", default=_by_ratio(config, width)),
        context=get.whole("context"),
        norm_eps=get.positive("norm_eps", 1e-5),
        rope_theta=get.positive("rope_theta", 10000.0),
        tied=get.flag("tied"),
        mask_token=get.whole("mask_token", least=0),
    )
    if width % heads or heads % found.kv_heads or (width // heads) % 2:
        raise BrokenCheckpoint(
            f"config.json: width {width}, {heads} heads and {found.kv_heads} key/value heads do not divide."
        )
    if found.mask_token is not None and found.mask_token >= found.vocabulary:
        raise BrokenCheckpoint(
            f"config.json: mask token {found.mask_token} lies outside the vocabulary of {found.vocabulary}."
        )
    return found


def _by_ratio(config: Mapping[str, Any], width: int) -> int | None:
    ratio = config.get("mlp_ratio")
    return ratio * width if type(ratio) is int and 0 < ratio <= 64 else None


class _Reader:
    """Typed look-ups by our field names, with the checkpoint's key in every message."""

    def __init__(self, config: Mapping[str, Any], family: Family) -> None:
        self._config, self._keys = config, family.keys

    def _value(self, field: str, fallback: str | None = None) -> Any:
        value = self._config.get(self._keys[field])
        return self._config.get(fallback) if value is None and fallback else value

    def whole(
        self,
        field: str,
        default: int | None = None,
        fallback: str | None = None,
        least: int = 1,
    ) -> int:
        value = self._value(field, fallback)
        value = default if value is None else value
        if type(value) is not int or not least <= value <= 2**31:
            raise BrokenCheckpoint(
                f"config.json: {self._keys[field]} must be a whole number of at least {least}, not {value!r}."
            )
        return value

    def positive(self, field: str, default: float) -> float:
        value = self._value(field)
        value = default if value is None else value
        if type(value) not in (int, float) or not 0 < value < 1e15:
            raise BrokenCheckpoint(
                f"config.json: {self._keys[field]} must be a positive number, not {value!r}."
            )
        return float(value)

    def flag(self, field: str) -> bool:
        value = self._value(field)
        if value not in (None, False, True):
            raise BrokenCheckpoint(
                f"config.json: {self._keys[field]} must be true or false, not {value!r}."
            )
        return bool(value)
