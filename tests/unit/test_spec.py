"""The job contract: what parses, what is refused and by which name; nothing is ever ignored."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidSpec, NotAvailable
from core.recipes import METHODS, Recipe, cells
from core.spec import JobSpec, parse_spec

LEAST: dict[str, Any] = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}


def test_model_and_sparsity_are_enough_and_the_rest_is_the_papers() -> None:
    spec = parse_spec(LEAST)
    assert spec.method == "sink-wanda"
    assert (spec.calibration.samples, spec.calibration.sequence_length) == (128, 1024)
    assert spec.calibration.timesteps == (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
    assert (spec.sinks.threshold_std, spec.sinks.sharpness) == (2.0, 5.0)


def test_a_spec_survives_the_way_through_json() -> None:
    spec = parse_spec({**LEAST, "metadata": {"team": "search"}, "calibration": {"seed": 7}})
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert parse_spec(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("sparsity", [0, 1, -1, 1.5, float("nan"), float("inf"), "much", None])
def test_impossible_sparsities(sparsity: object) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**LEAST, "sparsity": sparsity})
    assert [f["field"] for f in caught.value.fields] == ["sparsity"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": {}}, "model.source"),
        ({"model": {"source": "/etc/passwd"}}, "model.source"),
        ({"model": {"source": "http://10.0.0.1/x"}}, "model.source"),
        ({"model": {"source": "file:///a\nb"}}, "model.source"),
        ({"model": {"source": "file:///a", "trust_remote_code": True}}, "model.trust_remote_code"),
        ({"method": "sinkwanda"}, "method"),
        ({"pattern": "4:2"}, "pattern"),
        ({"pattern": "2:64"}, "pattern"),
        ({"calibration": {"samples": 0}}, "calibration.samples"),
        ({"calibration": {"seed": 2**63}}, "calibration.seed"),
        ({"calibration": {"sample_interval": 60}}, "calibration"),
        ({"calibration": {"source": "ftp://x"}}, "calibration.source"),
        ({"sinks": {"sharpness": 0}}, "sinks.sharpness"),
        ({"evaluation": {"samples": 1}}, "evaluation.samples"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_each_offence_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**LEAST, **change})
    assert field in [f["field"] for f in caught.value.fields]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"pattern": "structured:ffn"}, "pattern structured:ffn"),
        ({"model": {"source": "example:x", "revision": "v2"}}, "revision"),
        ({"output": {"dtype": "float16"}}, "dtype float16"),
        ({"output": {"packed": True}}, "packed"),
        ({"output": {"max_shard_bytes": 10**9}}, "max_shard_bytes"),
    ],
)
def test_what_is_not_built_is_refused_by_name(change: dict[str, Any], what: str) -> None:
    with pytest.raises(NotAvailable, match="not available in this version") as caught:
        parse_spec({**LEAST, **change})
    assert what in caught.value.message


def test_a_methods_own_recipe_may_be_spelled_out() -> None:
    own = {"inputs": "noised", "order": "one-shot", "sinks": "discount-all"}
    assert parse_spec({**LEAST, "recipe": own}).recipe.inputs == "noised"


def test_a_pattern_implies_its_sparsity_and_does_not_contradict_it() -> None:
    with pytest.raises(InvalidSpec, match="not valid"):
        parse_spec({**LEAST, "pattern": "2:4", "sparsity": 0.4})
    without = {"model": LEAST["model"], "pattern": "1:4"}
    assert parse_spec(without).sparsity == 0.75


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_every_cell_of_the_grid_can_be_asked_for(cell: Recipe) -> None:
    recipe = {"inputs": cell.inputs, "order": cell.order, "sinks": cell.sinks}
    spec = parse_spec({**LEAST, "method": cell.score, "recipe": recipe})
    assert spec.resolved_recipe == cell


def test_what_a_recipe_leaves_out_comes_from_its_methods_row() -> None:
    for method, row in METHODS.items():
        assert parse_spec({**LEAST, "method": method}).resolved_recipe == row
    spec = parse_spec({**LEAST, "recipe": {"sinks": "discount-transient"}})
    assert spec.resolved_recipe == Recipe("wanda", "noised", "one-shot", "discount-transient")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "magnitude", "recipe": {"inputs": "clean"}}, "recipe.inputs"),
        ({"method": "magnitude", "recipe": {"sinks": "keep"}}, "recipe.sinks"),
        ({"method": "magnitude", "recipe": {"allocation": "owl"}}, "recipe.allocation"),
        ({"method": "wanda", "recipe": {"damping": 0.1}}, "recipe.damping"),
        ({"recipe": {"outlier_threshold": 7}}, "recipe.outlier_threshold"),
        ({"recipe": {"allocation_spread": 0.2}}, "recipe.allocation_spread"),
        (
            {"recipe": {"allocation": [0.4, 0.6], "allocation_spread": 0.2}},
            "recipe.allocation_spread",
        ),
        ({"pattern": "2:4", "recipe": {"allocation": "early-sparser"}}, "recipe.allocation"),
        (
            {"recipe": {"sinks": "discount-transient"}, "calibration": {"sample_interval": 50}},
            "recipe.sinks",
        ),
        (
            {"method": "wanda", "calibration": {"timestep_weights": "inverse-rate"}},
            "calibration.timestep_weights",
        ),
        ({"method": "wanda", "evaluation": {"baseline": "wanda"}}, "evaluation.baseline"),
        (
            {
                "method": "sink-sparsegpt",
                "recipe": {"sinks": "keep"},
                "evaluation": {"baseline": "sparsegpt"},
            },
            "evaluation.baseline",
        ),
    ],
)
def test_nonsense_is_refused_by_field_with_the_reason(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec, match="makes no sense") as caught:
        parse_spec({**LEAST, **change})
    assert [f["field"] for f in caught.value.fields] == [field]
    assert len(caught.value.fields[0]["message"].split()) > 3


def test_all_nonsense_is_named_at_once() -> None:
    recipe = {"inputs": "clean", "order": "one-shot", "damping": 0.5}
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({**LEAST, "method": "magnitude", "recipe": recipe})
    named = [f["field"] for f in caught.value.fields]
    assert named == ["recipe.inputs", "recipe.order", "recipe.damping"]


def test_an_explicit_allocation_implies_the_sparsity() -> None:
    data = {"model": LEAST["model"], "recipe": {"allocation": [0.4, 0.5, 0.75]}}
    spec = parse_spec(data)
    assert spec.sparsity == pytest.approx(0.55)
    assert parse_spec(spec.model_dump(mode="json")) == spec
    for shares in ([], [0.5, 1.0], [-0.1, 0.5], ["much"]):
        with pytest.raises(InvalidSpec):
            parse_spec({**data, "recipe": {"allocation": shares}})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # busy machines draw slowly
@given(st.dictionaries(st.sampled_from(sorted(JobSpec.model_fields)), json_values, max_size=6))
def test_any_json_is_a_spec_or_a_named_refusal(data: dict[str, Any]) -> None:
    with suppress(InvalidSpec, NotAvailable):
        assert parse_spec({**LEAST, **data}).method in METHODS
