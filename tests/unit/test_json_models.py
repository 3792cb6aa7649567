"""JSON's types are JSON's: what is a number there, and what is none."""

import pytest
from pydantic import BaseModel, ValidationError

from core.json_models import from_json


class Some(BaseModel):
    count: int = 0
    share: float = 0.0
    on: bool = False
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("data", "count"), [({"count": 5}, 5), ({"count": 5.0}, 5), ({"count": -0.0}, 0)]
)
def test_a_whole_number_may_be_written_with_a_point(data: dict[str, object], count: int) -> None:
    assert from_json(Some, data).count == count


def test_a_whole_number_does_for_a_share_and_a_list_for_a_tuple() -> None:
    read = from_json(Some, {"share": 1, "names": ["a"], "on": True})
    assert read == Some(share=1.0, names=("a",), on=True)


@pytest.mark.parametrize(
    "data",
    [
        {"count": "5"},
        {"count": True},
        {"count": 5.5},
        {"share": "0.5"},
        {"share": False},
        {"on": 1},
    ],
)
def test_what_only_looks_like_it_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        from_json(Some, data)
