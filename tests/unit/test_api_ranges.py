"""Byte ranges, entity tags and content negotiation, away from any server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.negotiation import preferred
from api.problems import RangeNotSatisfiable
from api.ranges import matches, parse_range

DATA = bytes(range(256))


@given(
    first=st.none() | st.integers(0, 300),
    last=st.none() | st.integers(0, 300),
    size=st.integers(0, 256),
)
def test_a_range_is_the_bytes_the_rfc_means(first: int | None, last: int | None, size: int) -> None:
    """The oracle picks single bytes by §14.1.2; the code computes with ends."""
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if (first is None and last is None) or (
        first is not None and last is not None and last < first
    ):
        assert parse_range(header, size) is None
        return
    if first is None:
        wanted = [i for i in range(size) if i >= size - (last or 0)]
    else:
        wanted = [i for i in range(size) if i >= first and (last is None or i <= last)]
    if not wanted:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
        return
    span = parse_range(header, size)
    assert span is not None
    assert list(DATA[span.start : span.stop]) == wanted
    assert span.content_range(size) == f"bytes {wanted[0]}-{wanted[-1]}/{size}"


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4", "bytes=a-b", "bytes=1--2",
     "bytes=-1-2", "bytes=²-3", "bytes=5-2"],
)  # fmt: skip
def test_what_is_no_single_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, 10) is None


def test_numbers_beyond_every_integer_type_are_ranges_too() -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(f"bytes={'9' * 500}-", 10)
    span = parse_range(f"bytes=-{'9' * 500}", 10)
    assert span is not None
    assert (span.start, span.stop) == (0, 10)


def test_weak_tags_match_only_weakly() -> None:
    assert matches('W/"a", "b"', '"a"', weak=True)
    assert not matches('W/"a", "b"', '"a"', weak=False)
    assert matches('"b","a"', '"a"', weak=False)
    assert matches("*", '"a"', weak=False)
    assert not matches("", '"a"', weak=True)
    assert not matches("a", '"a"', weak=True)


JSON, HTML = "application/json", "text/html"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/html", HTML),
        ("text/*", HTML),
        ("text/html,application/xhtml+xml,*/*;q=0.8", HTML),
        ("text/html;q=0.5, application/json;q=0.4", HTML),
        ("application/json;q=0, */*", HTML),
        ("*/*;q=0.1, TEXT/HTML", HTML),
        ("image/png", None),
        ("*/*;q=0", None),
        ("text/html;q=x", None),
    ],
)
def test_the_client_chooses_the_type(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, (JSON, HTML)) == chosen
