"""`secateur prune`: the engine in this process, without server, database or broker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o
from secateur.cli._wanted import Wanted, takes_spec

if TYPE_CHECKING:
    from core.report.schema import Report
    from core.spec import JobSpec


@takes_spec
def prune(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.", show_default=False)],
    wanted: Wanted,
    device: o.Device = None,
    threads: o.Threads = None,
    memory_budget: o.MemoryBudget = None,
    force: o.Force = False,
    json: o.Json = False,
) -> None:
    """Prune a model here and write checkpoint, report and manifest to a new folder."""
    from core.report.schema import Report
    from core.spec import parse_spec
    from secateur.cli import _local
    from secateur.cli._output import show_json
    from secateur.cli._signals import interruptible

    parsed = parse_spec(wanted.data())
    _refuse_push(parsed, out)
    _refuse_webhook(parsed)
    _local.check_output(out, force=force)
    engine = _local.engine()
    options = _local.run_options(engine, device, threads, memory_budget, force=force)
    with interruptible():  # so that what is half-written is taken away
        _local.with_progress(
            parsed.method, lambda watch: engine.execute(parsed, out, options, watch)
        )
    report = Report.model_validate_json((out / "report" / "report.json").read_bytes())
    if json:
        show_json({"out": str(out), **report.model_dump(mode="json", exclude={"sinks"})})
    else:
        _summarize(out, report)


def _refuse_push(spec: "JobSpec", out: Path) -> None:
    from core.errors import BadRequest

    if spec.output.push is not None:
        raise BadRequest(
            "output.push is what a server's workers carry out, and there is no server here.",
            remedy=f"Leave it out, and then run: secateur push {out} {spec.output.push}",
        )


def _refuse_webhook(spec: "JobSpec") -> None:
    from core.errors import BadRequest

    if spec.webhook is not None:
        raise BadRequest(
            "webhook is what a server's workers carry out, and there is no server here.",
            remedy="Leave it out: this command ends when the work does.",
        )


def _summarize(out: Path, report: "Report") -> None:
    from core.report.meanings import loss_of
    from secateur.cli._output import result, size

    actual, nelbo = report.actual, report.quality.nelbo
    result(f"removed   {report.sparsity.overall:.2%} of the prunable weights")
    if nelbo is not None:
        change = f"{nelbo.difference:+.4f} ± {nelbo.stderr:.4f}"
        result(
            f"{loss_of(report).short:<9} {nelbo.dense:.4f} → {nelbo.pruned:.4f} nats per token ({change})"
        )
    if actual.seconds is not None and actual.peak_bytes is not None:
        result(f"took      {actual.seconds:.1f} s, {size(actual.peak_bytes)} at peak")
    for warning in report.warnings:
        result(f"warning   {warning}")
    result(f"model     {out / 'model'}")
    result(f"report    {out / 'report' / 'report.html'}")
