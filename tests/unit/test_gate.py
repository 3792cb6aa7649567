"""Conditions on reports: how they are read, what they compare, and what never passes silently."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRequest, GateFailed, MetricMissing
from core.report.conditions import COMPARISONS, check_measurable, judge, parse_condition
from core.report.metrics import BY_NAME, METRICS, values
from core.report.schema import Quality
from secateur.cli._gate import Conclusion
from secateur.cli._tell import outputs, summary
from secateur.problems import WaitedTooLong
from tests.report_inputs import analysis_for, nelbo, report_for, sink_arrays

ARRAYS = sink_arrays("drifting")


def document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_for(ARRAYS, **changes).model_dump_json())
    return found


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
def test_every_metric_is_in_a_full_report(name: str) -> None:
    assert name in values(document())


def test_metrics_are_the_report_s_numbers() -> None:
    report = document()
    found = values(report)
    assert found["nelbo_delta"] == report["quality"]["nelbo"]["difference"]
    assert found["sparsity"] == report["sparsity"]["overall"]
    assert found["temporal_variance"] == report["sinks"]["temporal_variance"]["mean"]
    assert found["transient_share_stderr"] == report["sinks"]["transient_share"]["stderr"]
    assert found["removed"] == sum(m["removed"] for m in report["sparsity"]["matrices"].values())
    quality = report["quality"]["nelbo"]
    ratio = quality["perplexity_bound_pruned"] / quality["perplexity_bound_dense"]
    assert found["perplexity_ratio"] == ratio


def test_an_analysis_has_its_sinks_and_nothing_that_was_not_measured() -> None:
    found = values(json.loads(analysis_for(ARRAYS).model_dump_json()))
    assert "temporal_variance" in found
    assert not {name for name in found if BY_NAME[name].needs}
    assert "sparsity" not in found


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), "0.5", True, {}])
def test_only_finite_numbers_are_metrics(odd: object) -> None:
    report = document()
    report["quality"]["nelbo"]["difference"] = odd
    assert "nelbo_delta" not in values(report)
    conclusion = Conclusion.of_report(report, [parse_condition("nelbo_delta>0.05")])
    assert conclusion.word == "unjudged"
    with pytest.raises(MetricMissing, match="nelbo_delta"):
        conclusion.raise_unless_passed()


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    threshold=st.floats(allow_nan=False, allow_infinity=False),
    comparison=st.sampled_from(sorted(COMPARISONS)),
    space=st.sampled_from(["", " ", "\t "]),
)
def test_a_condition_compares_as_written(
    value: float, threshold: float, comparison: str, space: str
) -> None:
    text = f"{space}nelbo_delta{space}{comparison}{space}{threshold!r}{space}"
    (verdict,) = judge([parse_condition(text)], {"nelbo_delta": value})
    assert verdict.met is eval(f"{value!r}{comparison}{threshold!r}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "METRIC"),
        ("nelbo_delta", "METRIC"),
        ("nelbo_delta>", "METRIC"),
        ("nelbo_delta=0.1", "METRIC"),
        ("nelbo_delta=>0.1", "METRIC"),
        ("nelbo_delta>nan", "METRIC"),
        ("nelbo_delta>0x10", "METRIC"),
        ("nelbo_delta>0.1 or 1>0", "METRIC"),
        ("0.1<nelbo_delta", "METRIC"),
        ("nelbo_delta>__import__('os')", "METRIC"),
        ("nelbo_delta>1e999", "too large"),
        ("nelbo_dleta>0.1", "Did you mean nelbo_delta?"),
        ("agreement.top1>0.1", "METRIC"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match="(?s)" + said.replace("?", r"\?")):
        parse_condition(text)


def test_what_the_spec_turns_off_is_refused_before_it_runs() -> None:
    conditions = [parse_condition("sparsity<0.4"), parse_condition("speedup<1")]
    check_measurable(conditions, {"evaluation": {"nelbo": False}})
    check_measurable(conditions, {})
    with pytest.raises(BadRequest, match=r"evaluation\.speed"):
        check_measurable(conditions, {"evaluation": {"speed": False}})


def test_a_met_condition_outranks_one_that_cannot_be_told() -> None:
    report = document(quality=Quality(nelbo=nelbo(0.2, 0.01), agreement=None))
    conditions = [parse_condition(text) for text in ("agreement<0.5", "nelbo_delta>0.05")]
    conclusion = Conclusion.of_report(report, conditions)
    assert [each["met"] for each in conclusion.document()["conditions"]] == [None, True]
    assert conclusion.word == "failed"
    with pytest.raises(GateFailed, match=r"nelbo_delta>0\.05"):
        conclusion.raise_unless_passed()
    passing = Conclusion.of_report(report, [parse_condition("nelbo_delta>0.5")])
    assert passing.word == "passed"
    passing.raise_unless_passed()


def test_github_gets_one_line_an_output_and_a_table() -> None:
    conditions = [parse_condition(text) for text in ("nelbo_delta>0.05", "sparsity<0.1")]
    conclusion = Conclusion.of_report(document(), conditions)
    pairs = dict(line.split("=", 1) for line in outputs(conclusion).splitlines())
    assert list(pairs) == ["verdict", "job", "artifacts-url", "metrics"]
    assert json.loads(pairs["metrics"]) == conclusion.metrics
    text = summary(conclusion)
    assert "Pruning gate failed" in text
    assert "| `nelbo_delta>0.05` | 0.1234 | FAILED |" in text
    assert "| `sparsity<0.1` | " in text


def test_the_guide_names_what_there_is() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "mlops.md").read_text(encoding="utf-8")
    conditions = re.findall(r'--fail-if "([^"]+)"', guide)
    assert len(conditions) >= 3
    for text in conditions:
        parse_condition(text)
    workflow = yaml.safe_load(guide.split("```yaml\n")[1].split("```")[0])
    steps = workflow["jobs"]["gate"]["steps"]
    outputs_used = set(re.findall(r"steps\.prune\.outputs\.([\w-]+)", guide))
    named = {line.split("=")[0] for line in outputs(Conclusion("passed")).splitlines()}
    assert outputs_used <= named
    assert any("secateur submit" in step.get("run", "") for step in steps)
    for kind in (GateFailed, MetricMissing, WaitedTooLong):
        assert f"| {kind.exit_status} |" in guide
