"""`secateur prune`: the engine in this process, without server, database or broker."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.progress import Progress
    from core.report.schema import Report


def prune(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.", show_default=False)],
    model: o.Model = None,
    method: o.Method = None,
    sparsity: o.Sparsity = None,
    pattern: o.Pattern = None,
    calibration: o.CalibrationSource = None,
    samples: o.Samples = None,
    sequence_length: o.SequenceLength = None,
    seed: o.Seed = None,
    spec: o.SpecFile = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:N or auto [default: auto]")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    memory_budget: Annotated[
        str | None, typer.Option("--memory-budget", help="Bytes to use, such as 8GB.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace --out once the new one is complete.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Prune a model here and write checkpoint, report and manifest to a new folder."""
    from core.spec import parse_spec
    from secateur.cli._output import show_json
    from secateur.cli._settings import load_settings
    from secateur.cli._signals import interruptible
    from secateur.cli._spec import Typed, spec_data

    typed = Typed(model, method, sparsity, pattern, calibration, samples, sequence_length, seed)
    parsed = parse_spec(spec_data(typed, spec))
    check_output(out, force=force)
    settings = load_settings()
    budget = settings.memory_budget if memory_budget is None else byte_count(memory_budget)
    engine = _engine()
    options = engine.RunOptions(
        device=device or settings.device,
        threads=threads or settings.threads,
        memory_budget=budget,
        hub_cache=settings.hub_cache,
        replace=force,
    )
    with interruptible():  # so that what is half-written is taken away
        _with_progress(parsed.method, lambda watch: engine.execute(parsed, out, options, watch))
    report = _report(out)
    if json:
        show_json({"out": str(out), **report.model_dump(mode="json", exclude={"sinks"})})
    else:
        _summarize(out, report)


def check_output(out: Path, *, force: bool) -> None:
    """Raise OutputExists if `out` is there, unless it may be replaced and is one of ours."""
    from core.errors import OutputExists
    from core.store.manifest import MANIFEST

    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputExists(f"{out} exists.", remedy="Choose another folder, or pass --force.")
    ours = out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))
    if not ours:
        raise OutputExists(
            f"{out} is no output of `secateur prune`, and --force would delete it.",
            remedy="Choose another folder.",
        )


def byte_count(text: str) -> int:
    """`text` in bytes: a number, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB."""
    import re

    from core.errors import BadRequest

    units = {"": 1} | {f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)}
    units |= {f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", text.strip().upper())
    if not found or found[2] not in units or float(found[1]) <= 0:
        raise BadRequest(f"{text!r} is not an amount of memory.", remedy="Write 8GB or 512MiB.")
    return int(float(found[1]) * units[found[2]])


def _engine() -> Any:
    """`core.run`, or the way to install what it needs."""
    from core.errors import BadRequest

    try:
        import core.run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "core":
            raise
        raise BadRequest(
            f"pruning on this machine needs {error.name}, which is not installed.",
            remedy='Run: pip install "secateur[worker]"',
        ) from None
    return core.run


def _with_progress(name: str, run: Callable[[Callable[["Progress"], None]], None]) -> None:
    from secateur.cli._board import board

    with board([name]) as shown:
        run(lambda p: shown.update(name, p.fraction, f"{p.phase}: {p.message}"))


def _report(out: Path) -> "Report":
    from core.report.schema import Report

    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def _summarize(out: Path, report: "Report") -> None:
    from secateur.cli._output import result, size

    actual, nelbo = report.actual, report.quality.nelbo
    result(f"removed   {report.sparsity.overall:.2%} of the prunable weights")
    if nelbo is not None:
        change = f"{nelbo.difference:+.4f} ± {nelbo.stderr:.4f}"
        result(f"NELBO     {nelbo.dense:.4f} → {nelbo.pruned:.4f} nats per token ({change})")
    if actual.seconds is not None and actual.peak_bytes is not None:
        result(f"took      {actual.seconds:.1f} s, {size(actual.peak_bytes)} at peak")
    for warning in report.warnings:
        result(f"warning   {warning}")
    result(f"model     {out / 'model'}")
    result(f"report    {out / 'report' / 'report.html'}")
