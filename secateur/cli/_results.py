"""A result, wherever it is: a folder on this machine, or a job of a server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.result import Result
from core.store.manifest import MANIFEST
from core.tracking.mlflow_run import CARD
from secateur.cli._output import note
from secateur.cli._remote import connect
from secateur.client import Client


@contextmanager
def opened(
    named: str,
    url: str,
    key_file: Path | None,
    *,
    light: bool = False,
    keep: Path | None = None,
) -> Iterator[tuple[Result, str | None]]:
    """The result in the folder or of the job `named`, and the job's id.

    A job's is downloaded from the server at `url`, into `keep` where it is to stay; `light`: without
    the checkpoint.

    Raises:
        BadRequest, CorruptObject, JobNotFound, WrongState, Unreachable: there is none.
    """
    if Path(named).is_dir():
        yield Result.open(Path(named)), None
        return
    if keep is not None:
        with connect(url, key_file) as client:
            found = _download(client, named, keep, light=light)
        yield Result.open(found), named
        return
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        with connect(url, key_file) as client:
            found = _download(client, named, Path(folder), light=light)
        yield Result.open(found), named


def _download(client: Client, job_id: str, folder: Path, *, light: bool) -> Path:
    note(f"downloading {job_id}")
    return client.download(job_id, folder, only=_is_light if light else None)


def _is_light(name: str) -> bool:
    return name in (MANIFEST, CARD) or name.startswith("report/")
