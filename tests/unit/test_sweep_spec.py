"""Sweeps: which jobs a grid makes, in which order, and what is wrong with those that cannot be."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadRequest, InvalidSpec
from core.recipes import cells
from core.sweep_spec import MOST, Planned, parse_sweep, parts_of, planned
from tests.fuzz.documents import ANYTHING, is_brief

BASE: dict[str, Any] = {"model": {"source": "example:x"}, "sparsity": 0.5}


def plan(**sweep: Any) -> Planned:
    return planned(parse_sweep({"base": BASE, **sweep}))


def wrong(**sweep: Any) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as refused:
        plan(**sweep)
    return {each["field"]: each["message"] for each in refused.value.fields}


def test_cells_come_as_nested_loops_would_make_them() -> None:
    found = plan(grid={"sparsity": [0.75, 0.5], "method": ["wanda", "magnitude"]})
    expected = [(0.75, "wanda"), (0.75, "magnitude"), (0.5, "wanda"), (0.5, "magnitude")]
    assert [(c.spec.sparsity, c.spec.method) for c in found.cells] == expected
    assert [c.number for c in found.cells] == [1, 2, 3, 4]
    assert found.cells[1].values == {"sparsity": 0.75, "method": "magnitude"}


def test_the_ablation_is_every_recipe_of_a_score_at_two_sparsities() -> None:
    for method, score in (("wanda", "wanda"), ("sparsegpt", "sparsegpt"), (None, "wanda")):
        base = {"model": {"source": "example:x"}} | ({"method": method} if method else {})
        found = plan(base=base, preset="ablation")
        recipes = [c.spec.resolved_recipe for c in found.cells]
        assert set(recipes) == {recipe for recipe in cells() if recipe.score == score}
        seen = {(c.spec.resolved_recipe, c.spec.sparsity) for c in found.cells}
        assert len(seen) == len(found.cells) == 24
    first, second = found.cells[:2]
    assert (first.spec.sparsity, second.spec.sparsity) == (0.5, 0.75)


def test_what_is_written_is_stronger_than_what_a_preset_has() -> None:
    no_sparsity = {"model": {"source": "example:x"}}
    replaced = plan(
        base=no_sparsity, preset="ablation", grid={"sparsity": [0.6], "calibration.seed": [1, 2]}
    )
    assert len(replaced.cells) == 24
    assert {c.spec.sparsity for c in replaced.cells} == {0.6}
    assert list(replaced.cells[0].values)[-1] == "calibration.seed"
    fixed = plan(preset="ablation")  # the base has a sparsity
    assert {c.spec.sparsity for c in fixed.cells} == {0.5}
    assert len(fixed.cells) == 12
    both = plan(grid={"sparsity": [0.25]})
    assert both.cells[0].spec.sparsity == 0.25


def test_no_cell_sees_what_another_one_sets() -> None:
    base = {**BASE, "calibration": {"samples": 4}}
    found = plan(
        base=base, grid={"calibration.seed": [1, 2], "recipe.order": ["one-shot", "sequential"]}
    )
    seeds = [(c.spec.calibration.seed, c.spec.recipe.order) for c in found.cells]
    assert seeds == list(product((1, 2), ("one-shot", "sequential")))
    assert {c.spec.calibration.samples for c in found.cells} == {4}
    assert base["calibration"] == {"samples": 4}


def test_one_refusal_names_every_bad_cell() -> None:
    fields = wrong(grid={"sparsity": [0.5, 2], "method": ["wanda", "wonder"]})
    assert list(fields) == [
        "cells.2.method",
        "cells.3.sparsity",
        "cells.4.method",
        "cells.4.sparsity",
    ]
    assert fields["cells.3.sparsity"].endswith("(sparsity 2, method wanda)")
    combined = wrong(
        base={**BASE, "method": "magnitude"}, grid={"recipe.inputs": ["clean", "noised"]}
    )
    assert list(combined) == ["cells.1.recipe.inputs", "cells.2.recipe.inputs"]
    lacking = wrong(grid={"pattern": ["unstructured", "structured:ffn"]})
    assert "not available" in lacking["cells.2"]


@pytest.mark.parametrize(
    ("sweep", "field"),
    [
        ({}, "grid"),
        ({"grid": {"sparsity": []}}, "grid.sparsity"),
        ({"grid": {"sparsity": [0.5, 0.5]}}, "grid.sparsity"),
        ({"grid": {"Sparsity!": [0.5]}}, "grid.Sparsity!"),
        ({"grid": {"recipe": [{}], "recipe.inputs": ["clean"]}}, "grid.recipe.inputs"),
        ({"grid": {"calibration.seed": [*range(MOST)], "sparsity": [0.5, 0.75]}}, "grid"),
        ({"grid": {"sparsity": [0.5]}, "preset": "all"}, "preset"),
        ({"grid": {"sparsity": [0.5]}, "colour": 1}, "colour"),
        ({"grid": {"sparsity.deep": [0.5]}}, "cells.1.sparsity.deep"),
        ({"base": 3, "grid": {"sparsity": [0.5]}}, "base"),
    ],
)
def test_what_is_no_sweep_is_refused_by_field(sweep: dict[str, Any], field: str) -> None:
    assert field in wrong(**sweep)


def test_two_results_are_not_pushed_to_one_place() -> None:
    base = {**BASE, "output": {"push": "s3://bucket/a"}}
    assert "1 and 2" in wrong(base=base, grid={"sparsity": [0.5, 0.75]})["cells"]
    apart = ["s3://bucket/a", "s3://bucket/b"]
    assert len(plan(grid={"output.push": apart}).cells) == 2


def test_true_is_not_one() -> None:
    assert plan(grid={"evaluation.speed": [True, False]}).cells
    assert list(wrong(grid={"evaluation.speed": [True, 1]})) == ["cells.2.evaluation.speed"]


def test_a_key_of_metadata_may_have_dots() -> None:
    assert parts_of("metadata.a.b") == ["metadata", "a.b"]
    found = plan(grid={"metadata.a.b": ["x", "y"]})
    assert [c.spec.metadata for c in found.cells] == [{"a.b": "x"}, {"a.b": "y"}]


@settings(max_examples=30, deadline=None)
@given(
    sweep=st.fixed_dictionaries(
        {"base": ANYTHING, "grid": ANYTHING}, optional={"preset": ANYTHING, "name": ANYTHING}
    )
)
def test_no_document_is_anything_but_a_sweep_or_refused(sweep: dict[str, Any]) -> None:
    try:
        planned(parse_sweep(sweep))
    except BadRequest as error:
        is_brief(error)
