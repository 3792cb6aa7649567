"""`secateur check`: hold a report that is already here against conditions."""

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import _options as o


def check(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT", help="A result's folder, or its report.json.", show_default=False
        ),
    ],
    fail_if: o.FailIf = None,
    json: o.Json = False,
    github: o.Github = False,
    list_metrics: o.ListMetrics = False,  # noqa: ARG001 - ends the command before it gets here
) -> None:
    """Show a report's metrics; exit with 6 where a condition is met, 2 where it cannot be told."""
    from core.report.conditions import parse_condition
    from core.result import read_report
    from secateur.cli._gate import Conclusion
    from secateur.cli._tell import tell

    conditions = [parse_condition(text) for text in fail_if or ()]
    conclusion = Conclusion.of_report(read_report(report), conditions)
    tell(conclusion, json=json, github=github)
    conclusion.raise_unless_passed()
