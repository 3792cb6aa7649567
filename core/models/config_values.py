"""Typed look-ups in a config.json by our field names, with the checkpoint's key in every message."""

from collections.abc import Mapping
from typing import Any

from core.errors import BrokenCheckpoint


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
        if type(value) is not int or not least <= value <= 2**31:
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be a whole number of at least {least}, not {value!r}."
            )
        return value

    def positive(self, field: str) -> float:
        value = self._value(field)
        if type(value) not in (int, float) or not 0 < value < 1e15:
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be a positive number, not {value!r}."
            )
        return float(value)

    def flag(self, field: str) -> bool:
        value = self._value(field)
        if value not in (None, False, True):
            raise BrokenCheckpoint(
                f"config.json: {self._within}{self._keys[field]} must be true or false, not {value!r}."
            )
        return bool(value)
