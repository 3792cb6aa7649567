"""Plans are pure, keep to their budget, and say what would do when nothing fits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import OutOfMemory
from core.models.families import Dimensions
from core.pruning.plan import Plan, Workload, make_plan
from core.recipes import METHODS, Recipe, cells

EIGHT_B = Dimensions(
    vocabulary=126464, width=4096, blocks=32, heads=32, kv_heads=32, ffn_width=12288,
    context=4096, norm_eps=1e-5, rope_theta=500000.0, tied=False, mask_token=126336,
)  # fmt: skip
WORK = Workload(
    EIGHT_B, weight_bytes=16 * 10**9, element_bytes=2, samples=128, timesteps=10,
    positions=1024, evaluation_sequences=0,
    inputs=((4096, 3 * 4096), (4096, 4096), (4096, 2 * 12288), (12288, 4096)),
)  # fmt: skip
SINK_WANDA, WANDA = METHODS["sink-wanda"], METHODS["wanda"]


def plan(work: Workload, recipe: Recipe, budget: int) -> Plan:
    return make_plan(work, recipe, device="cpu", baseline_bytes=10**9, budget=budget)


@given(st.integers(10**9, 10**12), st.sampled_from([SINK_WANDA, WANDA]))
def test_a_plan_keeps_to_its_budget_or_says_what_it_needs(budget: int, recipe: Recipe) -> None:
    if budget < 17.5 * 10**9:  # weights, and what the process held before
        with pytest.raises(OutOfMemory, match="smallest plan needs"):
            plan(WORK, recipe, budget)
    elif budget > 24 * 10**9:
        made = plan(WORK, recipe, budget)
        assert made.peak_bytes <= budget
        assert made.group >= 1


def test_the_need_it_names_is_enough() -> None:
    with pytest.raises(OutOfMemory) as caught:
        plan(WORK, SINK_WANDA, 10**9)
    need = float(caught.value.message.split("needs ")[1].split(" GB")[0])
    assert plan(WORK, SINK_WANDA, int((need + 0.01) * 1e9)).group >= 1


def test_inputs_are_held_when_the_budget_allows_and_cost_a_second_pass_when_not() -> None:
    roomy, tight = plan(WORK, SINK_WANDA, 10**12), plan(WORK, SINK_WANDA, 20 * 10**9)
    assert roomy.hold_inputs
    assert not tight.hold_inputs
    assert roomy.forwards == 1280
    assert tight.forwards == 2560
    assert tight.flops == 2 * roomy.flops


def test_a_sequential_recipe_counts_both_passes_over_each_block() -> None:
    assert plan(WORK, WANDA, 10**12).forwards == 1280 + 2 * 128


@pytest.mark.parametrize("recipe", list(cells()), ids=str)
def test_forwards_follow_from_the_cell(recipe: Recipe) -> None:
    """Every timestep once for the mass; what is measured apart, once, or twice block by block."""
    made = plan(WORK, recipe, 10**13)
    sequences = 1280 if recipe.inputs == "noised" else 128
    apart = {"sequential": 2, "one-shot": 0 if recipe.norms_with_mass else 1}[str(recipe.order)]
    assert made.forwards == 1280 + apart * sequences
    assert made.hold_inputs == recipe.norms_with_mass


def test_transient_sinks_are_held_in_whole_samples() -> None:
    transient = replace(SINK_WANDA, sinks="discount-transient")
    assert plan(WORK, transient, 10**12).group == 10
    tight = plan(WORK, transient, 24 * 10**9)
    assert not tight.hold_inputs


def test_hessians_and_carried_hidden_states_are_counted() -> None:
    sparsegpt = replace(WANDA, score="sparsegpt")
    more = plan(WORK, sparsegpt, 10**12).peak_bytes - plan(WORK, WANDA, 10**12).peak_bytes
    hessians = 8 * (3 * 4096**2 + 12288**2)
    assert hessians < more < 5 * hessians
    noised = replace(WANDA, inputs="noised")
    carried = plan(WORK, noised, 10**12).peak_bytes - plan(WORK, WANDA, 10**12).peak_bytes
    assert carried == (1280 - 128) * 1024 * 4096 * 2
    assert plan(WORK, sparsegpt, 10**12).flops > plan(WORK, WANDA, 10**12).flops


def test_probes_of_an_allocation_are_counted() -> None:
    probed = replace(WORK, probe_sequences=128)
    assert plan(probed, WANDA, 10**12).forwards == plan(WORK, WANDA, 10**12).forwards + 128


def test_looks_that_go_deeper_and_a_baseline_are_counted() -> None:
    plain = plan(WORK, SINK_WANDA, 10**12)
    deeper = plan(replace(WORK, depth_sequences=99), SINK_WANDA, 10**12)
    assert deeper.forwards == plain.forwards + 99
    baseline = replace(WORK, baseline=METHODS["sparsegpt"])
    beside = plan(baseline, SINK_WANDA, 10**12)
    assert beside.forwards == plain.forwards + 2 * 128
    alone = plan(WORK, METHODS["sparsegpt"], 10**12)
    assert beside.solver_flops == alone.solver_flops
    assert beside.peak_bytes - plain.peak_bytes > 8 * 12288**2, "its Hessians"
    # What is measured while watching serves the job's own recipe alone.
    again = plan(replace(WORK, baseline=SINK_WANDA), WANDA, 10**12)
    assert again.forwards == plan(WORK, WANDA, 10**12).forwards + 1280


@given(st.integers(1, 64), st.integers(1, 64))
def test_more_samples_never_take_less(one: int, more: int) -> None:
    small = plan(replace(WORK, samples=one), SINK_WANDA, 10**12)
    large = plan(replace(WORK, samples=one + more), SINK_WANDA, 10**12)
    assert large.peak_bytes >= small.peak_bytes
    assert large.flops > small.flops


def test_seconds_are_flops_at_the_measured_rate() -> None:
    made = plan(WORK, WANDA, 10**12)
    assert made.seconds is None
    assert made.timed(1e-12).seconds == pytest.approx(made.flops * 1e-12)
