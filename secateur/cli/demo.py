"""`secateur demo`: two jobs over HTTP on a server of their own, and their results side by side."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from core.jobs.views import Job
    from core.report.schema import Report
    from secateur.client import Client

METHODS: Final = ("wanda", "sink-wanda")
_PAUSE: Final = 0.7  # the jobs need the processor more than the bars do
_MARK: Final = ".secateur-demo"


def spec_of(method: str) -> dict[str, Any]:
    """Small enough for two cores in under a minute, large enough for error bars that mean something."""
    return {
        "model": {"source": "example:kjv-dlm"},
        "method": method,
        "sparsity": 0.5,
        "calibration": {"samples": 48, "sequence_length": 256},
        "evaluation": {"samples": 32},
        "metadata": {"from": "demo"},
    }


def demo(
    data: Annotated[Path, typer.Option("--data", help="Folder; made anew.")] = Path("demo"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the server's database and store, too.")
    ] = False,
) -> None:
    """Start a server, prune the example model with two methods, and compare what comes back."""
    from rich.console import Console

    from secateur.cli._comparison import comparison
    from secateur.cli._output import note, result
    from secateur.cli._server import own_server
    from secateur.cli._signals import interruptible
    from secateur.client import Client

    folder = fresh_folder(data)
    with interruptible():
        note("starting a server (database, broker, worker and API of its own)")
        with own_server(folder / "server", folder / "server.log") as url, Client(url) as client:
            note(f"ready: {url}")
            jobs = {method: client.submit(spec_of(method)) for method in METHODS}
            watch_all(client, jobs)
            reports = {m: fetch(client, job, folder / m) for m, job in jobs.items()}
        if not keep:
            shutil.rmtree(folder / "server")
    Console(width=None if Console().is_terminal else 120).print(comparison(reports))
    for method in METHODS:
        result(f"report of {method}: {folder / method / 'report' / 'report.html'}")


def fresh_folder(folder: Path) -> Path:
    """`folder`, empty. Raises OutputExists rather than delete what no demo made."""
    from core.errors import OutputExists

    if folder.exists() or folder.is_symlink():
        a_folder = folder.is_dir() and not folder.is_symlink()
        if not (a_folder and ((folder / _MARK).is_file() or not any(folder.iterdir()))):
            raise OutputExists(
                f"{folder} exists, and no demo made it.", remedy="Choose another with --data."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    return folder


def watch_all(client: "Client", jobs: dict[str, "Job"]) -> None:
    """Show all jobs' progress until each has ended. Raises the reason of the first that failed."""
    from core.jobs.states import TERMINAL
    from secateur.cli._board import board
    from secateur.cli._remote import raise_unless_succeeded, show

    seen = dict.fromkeys(jobs, 0)
    with board(list(jobs)) as shown:
        while seen:
            for name in list(seen):
                for event in client.events(jobs[name].id, after=seen[name], follow=False):
                    seen[name] = event.id
                    show(shown, name, event)
                    if event.data.get("state") in TERMINAL:
                        raise_unless_succeeded(client.get(jobs[name].id))
                        del seen[name]
                        break
            time.sleep(_PAUSE)


def fetch(client: "Client", job: "Job", folder: Path) -> "Report":
    """Download the job's artifacts, verify them against its manifest, and read its report."""
    from core.report.schema import Report
    from core.store import manifest
    from secateur.cli._output import note

    client.download(job.id, folder)
    verified = manifest.verify(folder)
    note(f"{folder}: {len(verified.files)} files, SHA-256 verified")
    return Report.model_validate_json((folder / "report" / "report.json").read_bytes())
