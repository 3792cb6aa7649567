"""`secateur sweep`: many jobs from one base and a grid, on a server or here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.cli import _options as o
from secateur.cli._wanted import Wanted, takes_spec

if TYPE_CHECKING:
    from core.jobs.sweep_views import Sweep
    from core.sweep_spec import Planned


@takes_spec
def sweep(
    *,
    wanted: Wanted,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUES",
            help="A field and what it takes: sparsity=0.5,0.75. May be given several times.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A grid that has a name: ablation.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it.", show_default=False)] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the jobs would take, and queue nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all jobs have ended; then compare them.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Here, one after another, without a server.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for comparison.html; of --local, for all results."
        ),
    ] = None,
    device: o.Device = None,
    threads: o.Threads = None,
    memory_budget: o.MemoryBudget = None,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Run every combination of a grid's values, and compare what comes of it.

    What the model's options or --spec say is the base of all jobs. On a server its paths are the
    server's. With --local, cells whose folder is complete are skipped, so that it goes on where it stopped.
    """
    from secateur.cli._grid import sweep_data

    data = sweep_data(wanted.data(), grid or (), preset, name)
    if local:
        machine = {"device": device, "threads": threads, "memory_budget": memory_budget}
        _here(data, _folder(out, dry_run=dry_run, wait=wait), machine, json=json)
        return
    _refuse_senseless(device, threads, memory_budget, dry_run=dry_run, wait=wait, out=out)
    _there(data, url, key_file, dry_run=dry_run, wait=wait, out=out, json=json)


def _folder(out: Path | None, *, dry_run: bool, wait: bool) -> Path:
    from core.errors import BadRequest

    if out is None:
        raise BadRequest("--local needs a folder for the results.", remedy="Add --out DIR.")
    if dry_run or wait:
        raise BadRequest(
            "--dry-run and --wait are about a server.", remedy="Leave them, or --local, out."
        )
    return out


def _refuse_senseless(
    *given: str | int | None, dry_run: bool, wait: bool, out: Path | None
) -> None:
    from core.errors import BadRequest

    if any(each is not None for each in given):
        raise BadRequest(
            "--device, --threads and --memory-budget are about this machine.",
            remedy="Add --local, or leave them out.",
        )
    if dry_run and wait:
        raise BadRequest("--dry-run leaves nothing to wait for.", remedy="Leave --wait out.")
    if out is not None and not wait:
        raise BadRequest("--out needs --wait or --local.", remedy="Add one of them.")


def _here(data: dict[str, Any], out: Path, machine: dict[str, Any], *, json: bool) -> None:
    from core.answers import FolderAnswers
    from core.sweep_spec import Cell, parse_sweep, planned
    from secateur.cli import _local
    from secateur.cli._comparing import write_page
    from secateur.cli._local_sweep import DENSE, PAGE, LocalSweep
    from secateur.cli._signals import interruptible

    plan: Planned = planned(parse_sweep(data))
    cells = LocalSweep(plan, out)
    cells.check()
    engine = _local.engine()

    def run(cell: Cell, folder: Path) -> None:
        answers = FolderAnswers(out / DENSE, folder.name)
        options = _local.run_options(engine, **machine, force=False, answers=answers)
        _local.with_progress(
            cell.spec.method, lambda watch: engine.execute(cell.spec, folder, options, watch)
        )

    with interruptible():  # so that what is half-written is taken away
        cells.run(run)
    comparison = cells.comparison()
    write_page(comparison, out / PAGE, plan.sweep.name or "Sweep")
    _show(comparison, json=json)
    _said(out / PAGE)
    for error in cells.failed.values():
        raise error


def _there(
    data: dict[str, Any],
    url: str,
    key_file: Path | None,
    *,
    dry_run: bool,
    wait: bool,
    out: Path | None,
    json: bool,
) -> None:
    from secateur.cli._comparing import write_page
    from secateur.cli._local_sweep import PAGE
    from secateur.cli._output import note
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        if dry_run:
            _show_dry(client.estimate_sweep(data), json=json)
            return
        made = client.submit_sweep(data)
        if not wait:
            _show_queued(made, json=json)
            return
        note(f"{made.id}: {made.children} jobs are queued")
        ended = client.wait_sweep(made.id)
        comparison = client.compare_sweep(made.id)
    if out is not None:
        write_page(comparison, out / PAGE, ended.name or f"Sweep {ended.id}")
        _said(out / PAGE)
    _show(comparison, json=json)
    _raise_unless_succeeded(ended)


def _raise_unless_succeeded(sweep: "Sweep") -> None:
    from core.errors import SecateurError

    if sweep.state != "succeeded":
        counts = sweep.counts.model_dump()
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        raise SecateurError(
            f"of the sweep's {sweep.children} jobs not all have succeeded: {told}.",
            remedy=f"GET /v1/jobs?sweep={sweep.id} says why.",
        )


def _show_dry(found: dict[str, Any], *, json: bool) -> None:
    from core.report.words import duration
    from secateur.cli._output import result, show_json, size

    if json:
        show_json(found)
        return
    seconds = found["seconds"]
    result(f"jobs      {found['children']}")
    result(f"memory    {size(found['peak_bytes'])} at the peak of the largest")
    result(f"work      {found['flops']:.3g} floating-point operations")
    if seconds is not None:
        result(f"time      {duration(seconds)}, one after another")
    result(f"leaves    {size(found['output_bytes'])} in the store")
    for warning in found["warnings"]:
        result(f"warning   {warning}")


def _show_queued(sweep: "Sweep", *, json: bool) -> None:
    from secateur.cli._output import note, result, show_json

    if json:
        show_json(sweep)
        return
    result(sweep.id)
    note(f"{sweep.children} jobs are queued: GET /v1/sweeps/{sweep.id}")


def _show(comparison: Any, *, json: bool) -> None:
    from secateur.cli._comparing import show_comparison
    from secateur.cli._output import show_json

    if json:
        show_json(comparison)
    else:
        show_comparison(comparison)


def _said(page: Path) -> None:
    from secateur.cli._output import note

    note(f"page: {page}")
