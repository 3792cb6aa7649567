"""Conditions on a report such as `nelbo_delta>0.05`: one metric, one comparison, one number.

Nothing is evaluated: the three parts are looked up, compared and parsed.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import BadRequest
from core.report.metrics import BY_NAME, Metric

COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM: Final = re.compile(
    r"\s*([A-Za-z_]\w*)\s*(>=|<=|==|!=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must not be true of a report."""

    metric: Metric
    comparison: str
    threshold: float

    def __str__(self) -> str:
        return f"{self.metric.name}{self.comparison}{self.threshold:.15g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition held against one report."""

    condition: Condition
    value: float | None
    """None where the report does not have the metric."""

    @property
    def met(self) -> bool | None:
        """None where it cannot be told."""
        if self.value is None:
            return None
        return COMPARISONS[self.condition.comparison](self.value, self.condition.threshold)


def parse_condition(text: str) -> Condition:
    """The condition in `text`. Raises BadRequest, saying which part is wrong."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise BadRequest(
            f"{text!r} is no condition.",
            remedy=f"Write METRIC, one of {' '.join(COMPARISONS)}, and a number: nelbo_delta>0.05",
        )
    name, comparison, number = found.groups()
    if name not in BY_NAME:
        near = difflib.get_close_matches(name, BY_NAME, n=1)
        raise BadRequest(
            f"no metric is called {name!r}.",
            remedy=(f"Did you mean {near[0]}? " if near else "") + "--list-metrics names them all.",
        )
    threshold = float(number)
    if not math.isfinite(threshold):
        raise BadRequest(f"{number} in {text!r} is too large a number.")
    return Condition(BY_NAME[name], comparison, threshold)


def check_measurable(conditions: Iterable[Condition], spec: Mapping[str, Any]) -> None:
    """Refuse what a job with `spec` cannot answer. Raises BadRequest.

    Better now than after the hours that the job takes.
    """
    asked = spec.get("evaluation")
    evaluation = asked if isinstance(asked, Mapping) else {}
    for condition in conditions:
        needs = condition.metric.needs
        if needs is not None and evaluation.get(needs) is False:
            raise BadRequest(
                f"{condition.metric.name} will not be measured: evaluation.{needs} is false.",
                remedy="Turn it on in the spec, or drop the condition.",
            )


def judge(conditions: Sequence[Condition], found: Mapping[str, float]) -> tuple[Verdict, ...]:
    """Each condition held against the metrics `found` in a report."""
    return tuple(Verdict(each, found.get(each.metric.name)) for each in conditions)
