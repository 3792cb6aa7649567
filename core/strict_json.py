"""JSON from strangers: bounded before it is parsed, and nothing that has two readings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn


class NotStrictJson(ValueError):
    """What is wrong, as the end of a sentence that begins with the name of the file."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a document may be at most. Python needs up to fifty times the bytes of a document that
    is all brackets, so values are bounded beside bytes."""

    size: int
    """Bytes."""
    values: int
    """Commas and opening brackets, which values are no more than by one; those in texts count too."""
    depth: int = 32


def parse_strictly(data: bytes, bounds: Bounds) -> Any:
    """The value in `data`, which is UTF-8.

    Raises:
        NotStrictJson: not JSON, a key that comes twice, NaN, an infinite or endless number, half of
            a surrogate pair, too large, too many values or too deep.
    """
    if len(data) > bounds.size:
        raise NotStrictJson(f"is larger than {bounds.size} bytes")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > bounds.values:
        raise NotStrictJson(f"holds more than {bounds.values} values")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except RecursionError:
        raise NotStrictJson("is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"is not JSON: {error.msg} at character {error.pos}") from None
    # What is UTF-8 can hold half of a surrogate pair only as an escape.
    _check(value, bounds.depth, texts=b"\\u" in data)
    return value


def first_twice(names: Iterable[str]) -> str | None:
    """The first of `names` that has come before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = first_twice(name for name, _ in pairs) or ""
        raise NotStrictJson(f"has the key {twice[:100]!r} twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise NotStrictJson(f"holds {name}, which is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotStrictJson(f"holds the number {digits[:40]}, which is too large")
    return value


def _bounded(digits: str) -> int:
    if len(digits) > 40:
        raise NotStrictJson(f"holds the number {digits[:40]}…, which is too large")
    return int(digits)


def _check(value: Any, depth: int, *, texts: bool) -> None:
    """Level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(depth):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
                inner.extend(each if texts else ())
            elif isinstance(each, list):
                inner.extend(each)
            elif texts and isinstance(each, str) and not _is_text(each):
                raise NotStrictJson("holds half of a surrogate pair, which is no text")
        if not inner:
            return
        level = inner
    raise NotStrictJson(f"is nested more than {depth} levels deep")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
