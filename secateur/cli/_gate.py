"""How a gate ended: the job, the report's metrics and what became of each condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.errors import GateFailed, MetricMissing, SecateurError
from core.jobs.views import Job
from core.report.conditions import Condition, Verdict, judge
from core.report.metrics import values
from secateur.cli._remote import raise_unless_succeeded

Word = Literal["passed", "failed", "unjudged", "job-failed", "job-cancelled", "timed-out"]
WORDS: Mapping[bool | None, str] = {True: "FAILED", False: "ok", None: "NOT MEASURED"}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the command prints and how it ends."""

    word: Word
    metrics: dict[str, float] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    job: Job | None = None
    url: str = ""
    """Of the server, where there is one."""
    waited: SecateurError | None = None
    """What ended the waiting before the job ended."""

    @classmethod
    def of_report(
        cls,
        report: Mapping[str, Any],
        conditions: Sequence[Condition],
        job: Job | None = None,
        url: str = "",
    ) -> "Conclusion":
        found = values(report)
        verdicts = judge(conditions, found)
        answers = {verdict.met for verdict in verdicts}
        word: Word = "failed" if True in answers else "unjudged" if None in answers else "passed"
        return cls(word, found, verdicts, job, url)

    @property
    def artifacts_url(self) -> str | None:
        if self.job is None or self.job.state != "succeeded":
            return None
        return f"{self.url.rstrip('/')}/v1/jobs/{self.job.id}/artifacts"

    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        about = {} if self.job is None else {"job": self.job.model_dump(mode="json")}
        return {
            "verdict": self.word,
            **about,
            "metrics": self.metrics,
            "conditions": [
                {
                    "condition": str(verdict.condition),
                    "metric": verdict.condition.metric.name,
                    "threshold": verdict.condition.threshold,
                    "value": verdict.value,
                    "met": verdict.met,
                }
                for verdict in self.verdicts
            ],
            "artifacts_url": self.artifacts_url,
        }

    def lines(self) -> list[str]:
        """The same for a person: a line a condition, or a line a metric where there is none."""
        width = max(map(len, self.metrics), default=0)
        listing = [f"{name:{width}}  {value:.6g}" for name, value in self.metrics.items()]
        judged = [
            f"{verdict.condition}: {WORDS[verdict.met]}"
            + ("" if verdict.value is None else f" ({verdict.value:.6g})")
            for verdict in self.verdicts
        ]
        end = [] if self.job is None else [f"{self.job.id} {self.job.state.value}"]
        return (judged or listing) + end

    def raise_unless_passed(self) -> None:
        """Raise what the command ends with: the job's own error comes before any condition."""
        if self.waited is not None:
            raise self.waited
        if self.job is not None:
            raise_unless_succeeded(self.job)
        met = [str(each.condition) for each in self.verdicts if each.met]
        if met:
            raise GateFailed(f"the gate is closed: {', '.join(met)}.")
        missing = [each.condition.metric.name for each in self.verdicts if each.met is None]
        if missing:
            raise MetricMissing(
                f"the report does not have {', '.join(missing)}.",
                remedy="What was not measured passes no gate: turn its evaluation on in the spec.",
            )
