"""What recipes, patterns, noise and sinks are called, for everything the engine can do."""

from typing import Any, get_args

import pytest

from core.recipes import METHODS, Recipe, cells
from core.report import meanings, words
from core.report.card import model_card
from core.report.facts import recipe_facts
from core.report.noise_words import PROCESSES, noise_text, timesteps_text, watched_rows
from core.report.schema import CalibrationFacts, Report
from core.report.sink_words import about_model, sink_rows
from core.spec import Allocation, RecipeSpec
from tests.report_inputs import analysis_for, report_for, sink_arrays

ARRAYS = sink_arrays("drifting", samples=2, layers=2, positions=64)


def report_of(recipe: Recipe, asked: RecipeSpec | None = None, **job: Any) -> Report:
    report = report_for(ARRAYS, recipe=recipe_facts(recipe, asked or RecipeSpec()))
    return report.model_copy(update={"job": report.job | job})


@pytest.mark.parametrize("recipe", [*cells(), METHODS["magnitude"]], ids=str)
@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_every_cell_of_the_grid_is_explained(recipe: Recipe, pattern: str) -> None:
    rows = meanings.recipe_rows(report_of(recipe, pattern=pattern))
    assert all(meaning and "{" not in meaning for _, _, meaning in rows)
    told = {name: meaning for name, _, meaning in rows}
    assert ("group of 4" in told["score"]) == (pattern == "2:4")
    if recipe.discounts:
        assert ("average over the timesteps" in told["sinks"]) == (recipe.inputs == "clean")


@pytest.mark.parametrize("allocation", [*get_args(Allocation), (0.4, 0.6)])
def test_every_allocation_is_explained_with_its_numbers(allocation: Any) -> None:
    asked = RecipeSpec(allocation=allocation)
    rows = meanings.recipe_rows(report_of(METHODS["wanda"], asked))
    told = {name: (value, meaning) for name, value, meaning in rows}
    assert all(meaning for _, meaning in told.values())
    assert told["allocation"][0] == (allocation if isinstance(allocation, str) else "explicit")
    ruled = allocation in ("owl", "early-sparser", "sensitivity")
    assert ("allocation spread" in told) == ruled
    assert ("outlier threshold" in told) == (allocation == "owl")


def test_a_changed_recipe_does_not_pass_for_its_method() -> None:
    own = report_of(METHODS["sink-wanda"], method="sink-wanda")
    assert meanings.method_meaning(own) == "with its own recipe"
    assert "with sink-wanda costs" in words.verdict(own)
    kept = METHODS["sink-wanda"].with_overrides(None, None, "keep")
    changed = report_of(kept, method="sink-wanda")
    told = "with a changed recipe: its own has sinks discount-all"
    assert meanings.method_meaning(changed) == told
    assert told in model_card(changed)
    assert "with a changed sink-wanda recipe costs" in words.verdict(changed)


def test_patterns_say_what_stays_and_that_nothing_runs_faster() -> None:
    assert "every 8 consecutive inputs, 3 kept" in meanings.pattern_meaning("3:8")
    for say in (meanings.saves, meanings.speed_note):
        assert "Unstructured" in say("unstructured")
        assert "November 2026" in say("2:4")
        assert "Unstructured" not in say("2:4")


CLEAN_ALONE = "none: the clean text alone was watched"


def facts_with(**changes: Any) -> CalibrationFacts:
    return analysis_for(ARRAYS).calibration.model_copy(update=changes)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_noise_is_named(process: str) -> None:
    assert noise_text(facts_with(process=process)) == PROCESSES[process]
    clean = facts_with(process=process, corrupted=[0.0])
    own = process in ("generation", "decoding", "prefixes")
    assert noise_text(clean) == (PROCESSES[process] if own else CLEAN_ALONE)


def test_what_was_not_written_yet_is_told_beside_what_was_masked() -> None:
    shares: dict[str, Any] = {"timesteps": [2, 4], "corrupted": [0.25, 0.5]}
    quarter, half, none, some = (words.percent(share) for share in (0.25, 0.5, 0.0, 0.4))
    masked = facts_with(process="generation", **shares)
    assert timesteps_text(masked) == f"2, 4 steps left: {quarter} to {half} of the positions masked"
    both = facts_with(process="generation", unwritten=[0.0, 0.4], **shares)
    assert timesteps_text(both).endswith(f" masked, {none} to {some} not yet written")
    shares["corrupted"] = [0.0, 0.0]
    growing = facts_with(process="decoding", unwritten=[0.0, 0.4], **shares)
    assert timesteps_text(growing) == f"2, 4 steps left: {none} to {some} not yet written"


def test_how_a_model_wrote_is_named_where_it_is_not_the_default() -> None:
    report = analysis_for(ARRAYS)
    asked = {"trajectory": "generation", "generation": {"block_length": 32, "guidance": 1.5}}
    changed = report.model_copy(
        update={
            "calibration": facts_with(process="generation", prompt_length=16),
            "job": report.job | {"calibration": asked},
        }
    )
    rows = dict(watched_rows(changed))
    assert rows["sampler"] == "the family's own, block length 32, guidance 1.5"
    assert rows["given"] == "the first 16 positions of each sample"
    assert "sampler" not in dict(watched_rows(report))


def test_options_are_named_where_they_were_given() -> None:
    plain = dict(watched_rows(analysis_for(ARRAYS)))
    assert set(plain) == {"text", "watched", "noise", "timesteps"}
    given = {
        "stratified": True, "keep_prefix": 4, "max_rate": 0.3, "include_clean": True,
        "timestep_weights": [1.0] * 10,
    }  # fmt: skip
    report = analysis_for(
        ARRAYS,
        job={"calibration": given},
        calibration=facts_with(revision="f" * 40, weights=[0.25] * 10).model_dump(),
    )
    rows = dict(watched_rows(report))
    assert rows["its revision"] == "f" * 40
    assert "first 4 positions" in rows["keep prefix"]
    assert "30.0" in rows["max rate"]
    assert rows["timestep weights"].startswith("0.250, 0.250")
    assert {"stratified", "include clean"} <= set(rows)


def test_replaced_positions_are_not_called_masked() -> None:
    report = analysis_for(
        ARRAYS, calibration=facts_with(process="uniform", replaces=True).model_dump()
    )
    names = [name for name, _, _ in sink_rows(report)]
    assert "on replaced positions" in names
    assert not any("mask" in name for name in names)
    assert dict(watched_rows(report))["timesteps"].endswith("of the positions replaced")


def test_what_one_timestep_or_a_clean_text_cannot_tell_is_a_dash() -> None:
    alone = analysis_for(sink_arrays("fixed", timesteps=1, samples=3))
    shown = {name: value for name, value, _ in sink_rows(alone)}
    for name in ("transient", "stable", "temporal variance", "temporal variance, relative"):
        assert shown[name] == "–"
    assert shown["share of attention"] != "–"
    clean = analysis_for(ARRAYS, calibration=facts_with(corrupted=[0.0] * 10).model_dump())
    shown = {name: value for name, value, _ in sink_rows(clean)}
    assert shown["on masked positions"] == "–"


def test_a_model_that_writes_from_left_to_right_is_introduced_as_such() -> None:
    report = analysis_for(ARRAYS)
    assert about_model(report) == ""
    causal = report.model.model_copy(update={"attention": "causal"})
    assert "from left to right" in about_model(report.model_copy(update={"model": causal}))
