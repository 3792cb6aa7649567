"""`secateur download`: a job's artifacts, verified."""

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import _options as o


def download(
    job: o.JobId,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder [default: the job's id]")
    ] = None,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Download a job's artifacts and verify each against the manifest.

    Run it again after an interruption: it goes on where it stopped.
    """
    from core.store import manifest
    from secateur.cli._output import result, show_json, size
    from secateur.cli._remote import connect

    folder = out or Path(job)
    with connect(url, key_file) as client:
        client.download(job, folder)
    verified = manifest.verify(folder)
    total = sum(file.bytes for file in verified.files)
    if json:
        show_json({"folder": str(folder), "files": len(verified.files), "bytes": total})
    else:
        result(f"{folder}: {len(verified.files)} files, {size(total)}, SHA-256 verified")
