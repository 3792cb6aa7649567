"""Byte ranges and entity tags, as RFC 9110 has them."""

import re
from dataclasses import dataclass

from api.problems import RangeNotSatisfiable


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> Span | None:
    """The span a Range header asks for; None where it is to be ignored and the whole is sent.

    Other units, several ranges at once and malformed headers are ignored, as §14.2 allows.

    Raises:
        RangeNotSatisfiable: well formed, but no byte of it exists.
    """
    found = re.fullmatch(r"bytes=[ \t]*(\d{0,1000})-(\d{0,1000})[ \t]*", header or "", re.ASCII)
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        span = Span(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        span = Span(int(first), min(size, int(last) + 1) if last else size)
    if span.length <= 0:
        raise RangeNotSatisfiable(size)
    return span


def matches(header: str, etag: str, *, weak: bool) -> bool:
    """Whether `etag` is among those in `header`; `weak` compares without regard to W/."""
    if header.strip() == "*":
        return True
    given = re.findall(r'(?:W/)?"[^"]*"', header)
    if weak:
        return etag.removeprefix("W/") in [g.removeprefix("W/") for g in given]
    return not etag.startswith("W/") and etag in given
