"""The calibration section of the contract: what its options mean together, and which contradict."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration_spec import Calibration, mask_rate
from core.errors import InvalidSpec
from core.spec import JobSpec, parse_spec


def parse(**calibration: Any) -> Calibration:
    spec = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5, "calibration": calibration}
    return parse_spec(spec).calibration


def refusal(**calibration: Any) -> str:
    with pytest.raises(InvalidSpec) as caught:
        parse(**calibration)
    return "; ".join(f"{f['field']}: {f['message']}" for f in caught.value.fields)


@pytest.mark.parametrize(
    ("asked", "timesteps"),
    [
        ({}, (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)),
        ({"max_rate": 0.3}, (5, 10)),
        ({"max_rate": 0.3007}, (5, 10, 15)),
        ({"include_clean": True, "max_rate": 0.11}, (0, 5)),
        ({"include_clean": True, "max_rate": 0.01}, (0,)),
        ({"diffusion_steps": 7, "sample_interval": 3, "include_clean": True}, (0, 3, 6)),
    ],
)
def test_timesteps_that_remain(asked: dict[str, Any], timesteps: tuple[int, ...]) -> None:
    assert parse(**asked).timesteps == timesteps


@given(st.floats(0.11, 1), st.integers(1, 10), st.booleans())
def test_no_timestep_exceeds_the_rate_and_none_below_is_left_out(
    max_rate: float, interval: int, clean: bool
) -> None:
    asked = Calibration(max_rate=max_rate, sample_interval=min(interval, 5), include_clean=clean)
    rates = [mask_rate(t, 50, 1e-3) for t in asked.noisy_timesteps]
    assert max(rates) <= max_rate + 1e-9
    following = asked.noisy_timesteps[-1] + asked.sample_interval
    assert following > 50 or mask_rate(following, 50, 1e-3) > max_rate
    assert asked.timesteps == (0,) * clean + asked.noisy_timesteps


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"max_rate": 0.05}, "leaves no timestep: the first one already corrupts 0.1009"),
        ({"max_rate": 0}, "max_rate"),
        ({"max_rate": 1.5}, "max_rate"),
        ({"keep_prefix": -1}, "keep_prefix"),
        ({"keep_prefix": 64, "sequence_length": 64}, "must be smaller than sequence_length 64"),
        ({"timestep_weights": "inverse-rate", "include_clean": True}, "whose rate is 0"),
        ({"timestep_weights": [1.0, 2.0]}, "2 values for 10 timesteps: 5, 10, 15"),
        ({"timestep_weights": [1.0] * 10, "include_clean": True}, "10 values for 11 timesteps"),
        ({"timestep_weights": [0.0] * 10}, "are all 0"),
        ({"timestep_weights": [-1.0] * 10}, "timestep_weights"),
        ({"timestep_weights": [float("nan")] * 10}, "timestep_weights"),
        ({"timestep_weights": "inverse"}, "timestep_weights"),
        ({"stratified": "perhaps"}, "stratified"),
    ],
)
def test_contradictions_are_refused_with_their_reason(asked: dict[str, Any], reason: str) -> None:
    assert reason in refusal(**asked)


def test_weights_of_a_recording_are_counted_when_it_is_read() -> None:
    asked = parse(source="file:///tokens.safetensors", timestep_weights=[1.0, 2.0, 3.0])
    assert asked.timestep_weights == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "asked",
    [
        {"stratified": True, "keep_prefix": 3, "max_rate": 0.3, "include_clean": True},
        {"timestep_weights": "inverse-rate"},
        {"timestep_weights": [0.5] * 10},
        {"source": "hf://datasets/org/name@v1/train.parquet"},
    ],
)
def test_every_option_survives_the_way_through_json(asked: dict[str, Any]) -> None:
    whole = {"model": {"source": "example:x"}, "sparsity": 0.5, "calibration": asked}
    spec = parse_spec(whole)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    again = parse_spec(spec.model_dump(mode="json"))
    assert again == spec
    assert all(
        getattr(again.calibration, name) == (tuple(value) if isinstance(value, list) else value)
        for name, value in asked.items()
    )


def test_every_option_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text("utf-8")
    assert [name for name in Calibration.model_fields if f"`{name}`" not in text] == []
