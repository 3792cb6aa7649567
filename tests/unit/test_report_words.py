"""Numbers and findings as sentences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.report import words
from core.report.schema import Mean, Quality
from tests.report_inputs import analysis_for, nelbo, report_for, sink_arrays, sink_facts


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234.5, "1234"),
        (0.123456, "0.123"),
        (-2.0, "−2.00"),
        (99.96, "99.96"),
        (3.28e-6, "3.28·10⁻⁶"),
        (4.5e7, "4.50·10⁷"),
    ],
)
def test_significant(value: float, expected: str) -> None:
    digits = 4 if value == 99.96 else 3
    assert words.significant(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.12342, 0.0042, "0.1234 ± 0.0042"),
        (-0.12, 0.0042, "−0.1200 ± 0.0042"),
        (5.0, None, "5.00"),
        (5.0, 0.0, "5.00"),
        (124560.0, 26704.0, "125,000 ± 27,000"),
        (3.28e-6, 9.8e-8, "(3.280 ± 0.098)·10⁻⁶"),
        (1.0, math.nan, "1.00"),
    ],
)
def test_plus_minus(value: float, error: float | None, expected: str) -> None:
    assert words.plus_minus(value, error) == expected


@given(st.floats(1e-12, 1e12), st.floats(1e-8, 1e3))
def test_plus_minus_never_hides_the_value(value: float, relative: float) -> None:
    error = value * relative
    text = words.plus_minus(value, error)
    plain = text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace(",", "")
    body, _, exponent = plain.replace("(", "").partition(")·10")
    shown, off = (float(part) * 10.0 ** int(exponent or 0) for part in body.split(" ± "))
    assert shown == pytest.approx(value, abs=error / 10)
    assert off == pytest.approx(error, rel=0.06)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0123, "12.3 ms"), (44.24, "44.2 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert words.duration(seconds).replace(words.NNBSP, " ") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(812e6, "812 MB"), (16.1e9, "16.1 GB"), (999, "999 B"), (1e3, "1 kB")]
)
def test_data_size(value: float, expected: str) -> None:
    assert words.data_size(value).replace(words.NNBSP, " ") == expected


@pytest.mark.parametrize(
    ("difference", "stderr", "expected"),
    [
        (0.1234, 0.0042, "costs 0.1234 ± 0.0042 nats per token (29 standard errors, beyond noise)"),
        (
            0.003,
            0.004,
            "changes the loss by +0.0030 ± 0.0040 nats per token, which is within noise",
        ),
        (-0.02, 0.004, "even lowers the loss by 0.0200 ± 0.0040 nats per token"),
        (0.0, 0.0, "changes the loss by 0 nats per token, which is within noise"),
        (0.5, 0.0, "costs 0.500 nats per token (the same in every sample)"),
    ],
)
def test_verdict_on_cost(difference: float, stderr: float, expected: str) -> None:
    arrays = sink_arrays("drifting")
    quality = Quality(nelbo=nelbo(difference, stderr), agreement=None)
    assert expected in words.verdict(report_for(arrays, quality=quality))


def test_verdict_without_measured_cost() -> None:
    quality = Quality(nelbo=None, agreement=None)
    report = report_for(sink_arrays("drifting"), quality=quality)
    assert "the cost was not measured" in words.verdict(report)
    assert "cost" not in [tile.label for tile in words.tiles(report)]


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        (0.01, "drift by ± 26 positions (10.0 % of the length)"),
        (1e-4, "stay put, within ± 2.6 positions (1.0 % of the length)"),
        (0.0, "never move"),
        (None, "no attention sink stood out"),
    ],
)
def test_verdict_on_drift(relative: float | None, expected: str) -> None:
    facts = sink_facts(sink_arrays("drifting")).model_copy(
        update={"temporal_variance_relative": Mean(mean=relative, stderr=None)}
    )
    assert expected in words.drift_text(facts).replace(words.NNBSP, " ")


def test_one_timestep_shows_no_drift() -> None:
    facts = sink_facts(sink_arrays("fixed", timesteps=1))
    assert "single timestep" in words.drift_text(facts)
    assert words.drift(facts) is None
    facts = sink_facts(sink_arrays("none", timesteps=1))
    assert words.drift_text(facts) == "no attention sink stood out"


def test_an_analysis_speaks_of_sinks_alone() -> None:
    report = analysis_for(sink_arrays("drifting"))
    told = words.verdict(report)
    assert told.startswith("The model's attention sinks drift by")
    assert "of all attention." in told
    assert [tile.label for tile in words.tiles(report)] == [
        "sinks at a timestep", "share of attention", "stable sinks", "sink drift", "run time",
    ]  # fmt: skip
    assert words.verdict(analysis_for(sink_arrays("none"))) == "No attention sink stood out."


def test_agreement_of_an_autoregressive_model_is_on_predicted_positions() -> None:
    report = report_for(sink_arrays("fixed", samples=2))
    quality = report.quality.model_copy(update={"objective": "likelihood"})
    notes = [tile.note for tile in words.tiles(report.model_copy(update={"quality": quality}))]
    assert any("predicted positions" in note for note in notes)
    assert not any("masked" in note for note in notes)


@pytest.mark.parametrize(("relative", "holds"), [(0.0102, True), (4.7e-5, False)])
def test_sinks_that_come_and_go_without_moving_are_not_what_is_discounted(
    relative: float, holds: bool
) -> None:
    """As in the shipped autoregressive model: 83 % of its sinks are transient, within two positions."""
    report = analysis_for(sink_arrays("drifting", samples=2, timesteps=3, layers=2, positions=24))
    sinks = report.sinks.model_copy(
        update={
            "transient_share": Mean(mean=0.83, stderr=0.01),
            "temporal_variance_relative": Mean(mean=relative, stderr=0.0),
        }
    )
    told = words.verdict(report.model_copy(update={"sinks": sinks}))
    assert ("discounting holds" in told, "does not hold" in told) == (holds, not holds)
