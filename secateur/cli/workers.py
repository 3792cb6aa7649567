"""`secateur workers`: who carries jobs out."""

from typing import TYPE_CHECKING

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.presence import Worker


def workers(url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False) -> None:
    """List the workers, and which of your jobs they carry out."""
    from secateur.cli._output import show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = client.workers()
    if json:
        show_json({"data": [each.model_dump(mode="json") for each in found]})
        return
    _show(found)


def _show(found: "tuple[Worker, ...]") -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in ("worker", "state", "device", "last seen", "secateur", "job"):
        table.add_column(name, no_wrap=True)
    for each in found:
        table.add_row(
            Text(each.id),
            each.state,
            Text(_device(each)),
            f"{each.last_seen:%Y-%m-%d %H:%M:%S}",
            each.versions.get("secateur", ""),
            each.job or ("busy" if each.busy else "idle"),
        )
    Console(width=None if sys.stdout.isatty() else 2000).print(table)


def _device(worker: "Worker") -> str:
    from secateur.cli._output import size

    shown = [f"{gpu.name} {size(gpu.memory_bytes)}" for gpu in worker.gpus]
    return ", ".join([worker.device, *shown])
