"""Byte ranges against sets of bytes, which are slow and plainly right."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.spans import Span, cut, joined, minus, size

places = st.integers(0, 30)
some_spans = st.lists(st.tuples(places, places), max_size=8)


def bytes_of(spans: list[Span]) -> set[int]:
    return {at for begin, end in spans for at in range(begin, end)}


@given(some_spans)
def test_joined_spans_are_the_same_bytes_apart_and_in_order(spans: list[Span]) -> None:
    found = joined(spans)
    assert bytes_of(found) == bytes_of(spans)
    assert size(found) == len(bytes_of(spans))
    assert all(begin < end for begin, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(some_spans, some_spans)
def test_minus_leaves_what_is_missing(wanted: list[Span], there: list[Span]) -> None:
    found = minus(joined(wanted), joined(there))
    assert bytes_of(found) == bytes_of(wanted) - bytes_of(there)
    assert found == joined(found)


@given(some_spans, st.integers(1, 10))
def test_pieces_are_the_same_bytes_and_none_is_too_large(spans: list[Span], most: int) -> None:
    found = list(cut(joined(spans), most))
    assert joined(found) == joined(spans)
    assert all(0 < end - begin <= most for begin, end in found)
    assert size(found) == size(joined(spans))
