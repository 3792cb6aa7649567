"""What a spec may say of the trajectory, and what would mean nothing."""

from typing import Any

import pytest

from core.analysis_spec import parse_analysis
from core.calibration_spec import Calibration
from core.errors import InvalidSpec
from core.spec import parse_spec

MODEL = {"model": {"source": "example:kjv-dlm"}}
GENERATION, DECODING = {"trajectory": "generation"}, {"trajectory": "decoding"}


def named(calibration: dict[str, Any]) -> str:
    """What both kinds of spec object to."""
    told = set()
    for parse, more in ((parse_spec, {"sparsity": 0.5}), (parse_analysis, {})):
        with pytest.raises(InvalidSpec) as caught:
            parse({**MODEL, **more, "calibration": calibration})
        told.add("; ".join(f"{f['field']}: {f['message']}" for f in caught.value.fields))
    assert len(told) == 1
    return told.pop()


@pytest.mark.parametrize(
    ("calibration", "reason"),
    [
        ({"generation": {"temperature": 1.0}}, "generation.temperature: nothing is written"),
        ({"generation": {"prompt_length": 3}}, "generation.prompt_length: nothing is written"),
        (GENERATION | {"stratified": True}, "calibration.stratified: no noise is drawn"),
        (GENERATION | {"max_rate": 0.5}, "calibration.max_rate: no noise is drawn"),
        (DECODING | {"keep_prefix": 4}, "calibration.keep_prefix: no noise is drawn"),
        (
            GENERATION | {"sequence_length": 64, "generation": {"prompt_length": 64}},
            "prompt_length: 64 leaves nothing to write in sequences of 64",
        ),
        (
            DECODING | {"generation": {"guidance": 1.0, "top_k": 5}},
            "generation.top_k: writing from left to right has no such choice",
        ),
        (DECODING | {"timestep_weights": "inverse-rate"}, "decoding masks nothing"),
        (
            GENERATION | {"generation": {"top_p": 0.9, "remasking": "random"}},
            "generation.top_p: belongs to Dream's sampler, and remasking to LLaDA's",
        ),
        (
            GENERATION | {"generation": {"algorithm": "origin", "algorithm_temperature": 1.0}},
            "algorithm_temperature: algorithm origin writes at positions that chance alone picks",
        ),
        (
            GENERATION | {"generation": {"algorithm": "origin", "top_k": 5}},
            "generation.top_k: algorithm origin at temperature 0 takes the likeliest token anyway",
        ),
    ],
)
def test_what_has_no_effect_is_refused_by_name(calibration: dict[str, Any], reason: str) -> None:
    assert reason in named(calibration)


@pytest.mark.parametrize(
    "calibration",
    [
        {"trajectory": "backwards"},
        GENERATION | {"generation": {"temperature": -1}},
        GENERATION | {"generation": {"top_p": 1.0}},
        GENERATION | {"generation": {"steps": 4}},
        GENERATION | {"generation": {"block_length": 0}},
    ],
)
def test_values_out_of_bounds(calibration: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        parse_spec({**MODEL, "sparsity": 0.5, "calibration": calibration})


def test_a_stored_spec_means_the_same() -> None:
    asked = {**GENERATION, "generation": {"block_length": 32, "temperature": 0.5}}
    spec = parse_spec({**MODEL, "sparsity": 0.5, "calibration": asked})
    assert parse_spec(spec.model_dump(mode="json")) == spec
    assert spec.calibration.generation.block_length == 32
    assert Calibration().trajectory == "forward-noise"
