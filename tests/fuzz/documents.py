"""Documents that are nearly right: JSON of any kind, and valid ones with something changed."""

import json
from typing import Any

from hypothesis import strategies as st

from core.errors import SecateurError

NUMBERS = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**39]),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20))
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """`document` with one to three values, keys or lists changed, at any depth."""
    found = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        found = draw(_changed_once(found))
    return found


@st.composite
def _changed_once(draw: st.DrawFn, value: Any) -> Any:
    go_down = isinstance(value, dict | list) and value and draw(st.integers(0, 4))
    if not go_down:
        return draw(ANYTHING)
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(_changed_once(value[at])), *value[at + 1 :]]
    key = draw(st.sampled_from(sorted(value)))
    match draw(st.integers(0, 5)):
        case 0:
            return {k: v for k, v in value.items() if k != key}
        case 1:
            return value | {draw(st.text(max_size=20)): draw(ANYTHING)}
        case _:
            return value | {key: draw(_changed_once(value[key]))}


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with some bytes changed, cut out, or put in."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        end = min(len(found), at + draw(st.integers(0, 12)))
        found[at:end] = draw(
            st.binary(max_size=12) | st.sampled_from([b"[", b"{", b'"', b",", b"9"])
        )
    return bytes(found)


def as_json(document: Any) -> bytes:
    """As Python writes it, NaN and all."""
    return json.dumps(document).encode()


def is_brief(error: SecateurError) -> None:
    """A refusal never repeats a document."""
    assert 0 < len(str(error)) < 2500, str(error)[:5000]
