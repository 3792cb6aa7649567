"""Typed look-ups in a config.json by our field names, with the checkpoint's key in every message."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import BrokenCheckpoint

MOST: Final[Mapping[str, int]] = {
    "vocabulary": 1 << 24, "width": 1 << 17, "blocks": 1024, "heads": 4096, "kv_heads": 4096,
    "ffn_width": 1 << 20, "context": 1 << 27, "mask_token": 1 << 24, "own_head_dim": 1 << 14,
    "count": 4096, "active": 4096, "shared": 64, "first_dense": 1024, "groups": 4096,
    "active_groups": 4096,
}  # fmt: skip
"""Several times what the largest published models have. Names and shapes of all tensors are made
from these numbers before any weight is looked at, so that no config can ask for a million."""


def shown(value: object) -> str:
    """What was found, for a message; of something long, its beginning."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def listed(names: Sequence[str]) -> str:
    """Names for a message, of many the first ten."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name)[1:-1] for name in names[:10]) + more


class Reader:
    """Values of `config` under the keys that `keys` gives our fields, else from `defaults`."""

    def __init__(
        self,
        config: Mapping[str, Any],
        keys: Mapping[str, str],
        defaults: Mapping[str, float],
        within: str = "",
    ) -> None:
        self._config, self._keys, self._defaults = config, keys, defaults
        self._within = within

    def _value(self, field: str, fallback: str | None = None) -> Any:
        value = self._config.get(self._keys[field])
        value = self._config.get(fallback) if value is None and fallback else value
        return self._defaults.get(field) if value is None else value

    def whole(
        self,
        field: str,
        default: int | None = None,
        fallback: str | None = None,
        least: int = 1,
    ) -> int:
        value = self._value(field, fallback)
        value = default if value is None else value
        most = MOST[field]
        if type(value) is not int or not least <= value <= most:
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be a whole number from {least} to {most}, not {shown(value)}."
            )
        return value

    def positive(self, field: str) -> float:
        value = self._value(field)
        if type(value) not in (int, float) or not 0 < value < 1e15:
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be a positive number, not {shown(value)}."
            )
        return float(value)

    def flag(self, field: str) -> bool:
        value = self._value(field)
        if value is not None and type(value) is not bool:
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be true or false, not {shown(value)}."
            )
        return bool(value)
