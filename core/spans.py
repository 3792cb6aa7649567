"""Byte ranges as pairs (begin, end): which are there, which are missing, how they are asked for."""

from collections.abc import Iterable, Iterator, Sequence

Span = tuple[int, int]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same bytes in order, where spans that touch or overlap are one, and none is empty."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def minus(wanted: Sequence[Span], there: Sequence[Span]) -> list[Span]:
    """What of `wanted` is not in `there`; both, and the answer, as `joined` makes them."""
    found: list[Span] = []
    for begin, end in wanted:
        at = begin
        for held_begin, held_end in there:
            if held_end <= at or held_begin >= end:
                continue
            if held_begin > at:
                found.append((at, held_begin))
            at = held_end
        if at < end:
            found.append((at, end))
    return found


def size(spans: Iterable[Span]) -> int:
    """Bytes in all of `spans`."""
    return sum(end - begin for begin, end in spans)


def cut(spans: Iterable[Span], most: int) -> Iterator[Span]:
    """`spans` in pieces of `most` bytes, the last of each excepted."""
    for begin, end in spans:
        for at in range(begin, end, most):
            yield at, min(at + most, end)
