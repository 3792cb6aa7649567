"""Several runs on one model side by side, beside the dense model."""

from collections.abc import Mapping

from rich.table import Table

from core.report.meanings import loss_of
from core.report.schema import Mean, Report
from secateur.cli._output import size


def comparison(reports: Mapping[str, Report]) -> Table:
    """A row for the dense model, then one a report. Losses in nats per token."""
    first = next(iter(reports.values()))
    loss = loss_of(first)
    table = Table(title=f"On the same held-out text, where {loss.shared}")
    table.add_column("model")
    for name in (
        "sparsity",
        f"{loss.short} per token",
        "difference",
        "seconds",
        "peak memory",
        "sink temporal variance",
    ):
        table.add_column(name, justify="right")
    nelbo = first.quality.nelbo
    dense = "–" if nelbo is None else f"{nelbo.dense:.4f} ± {nelbo.dense_stderr:.4f}"
    # Sinks are watched in the dense model, before anything is removed.
    table.add_row("dense", "0 %", dense, "–", "–", "–", _mean(first.sinks.temporal_variance))
    for name, report in reports.items():
        table.add_row(name, *_cells(report))
    return table


def _cells(report: Report) -> tuple[str, ...]:
    nelbo, actual = report.quality.nelbo, report.actual
    return (
        f"{report.sparsity.overall:.1%}",
        "–" if nelbo is None else f"{nelbo.pruned:.4f}",
        "–" if nelbo is None else f"{nelbo.difference:+.4f} ± {nelbo.stderr:.4f}",
        "–" if actual.seconds is None else f"{actual.seconds:.1f}",
        "–" if actual.peak_bytes is None else size(actual.peak_bytes),
        "as dense",
    )


def _mean(value: Mean) -> str:
    if value.mean is None:
        return "no sinks"
    spread = "" if value.stderr is None else f" ± {value.stderr:.2g}"
    return f"{value.mean:.4g}{spread}"
