"""Fetch one artifact: resumed where it stopped, checked by SHA-256, in place whole or not at all."""

import hashlib
import time
from pathlib import Path
from typing import Final

import httpx
from pydantic import BaseModel

from core.errors import CorruptObject
from core.store.keys import check_key
from secateur.problems import Unreachable, error_of

_TRIES: Final = 5


class Artifact(BaseModel):
    """One file a job left, as the server lists it."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    url: str


def local_path(folder: Path, name: str) -> Path:
    """Where the artifact `name` goes. Raises CorruptObject for one that would leave `folder`."""
    try:
        path = folder / check_key(name)
    except ValueError as error:
        raise CorruptObject(f"the server lists an unsafe name: {error}.") from None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CorruptObject(
            f"{path} leads out of {folder} through a link.", remedy="Choose an empty folder."
        )
    return path


def fetch(http: httpx.Client, artifact: Artifact, target: Path) -> None:
    """Put `artifact` at `target`, unless it is there already.

    Raises:
        CorruptObject: the bytes that came are not the artifact's; they are thrown away.
        Unreachable: the server stopped answering, several times in a row.
    """
    if target.is_file() and _digest(target) == artifact.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named by content: what is left of another version is never continued.
    part = target.with_name(f".{artifact.sha256[:32]}.part")
    part.touch()
    failures = 0
    while (before := part.stat().st_size) < artifact.bytes:
        reason = _append(http, artifact, part)
        failures = failures + 1 if part.stat().st_size <= before else 0
        if failures >= _TRIES:
            raise Unreachable(
                f"{artifact.name} stopped at {before} of {artifact.bytes} bytes: {reason or 'nothing more came'}.",
                remedy="Download again: it goes on from there.",
            )
        if reason:
            time.sleep(0.1 * 2**failures)
    if part.stat().st_size != artifact.bytes or _digest(part) != artifact.sha256:
        part.unlink()
        raise CorruptObject(
            f"{artifact.name} arrived with other bytes than its SHA-256 promises.",
            remedy="Download it again; if that fails too, the store is damaged.",
        )
    part.replace(target)


def _append(http: httpx.Client, artifact: Artifact, part: Path) -> str:
    """Ask for what `part` still lacks and add what comes; why it stopped early, if it did."""
    have = part.stat().st_size
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{artifact.sha256}"'}
    try:
        # The server may send for a file to where it is stored; what arrives is checked all the same.
        with http.stream("GET", artifact.url, headers=headers, follow_redirects=True) as response:
            if response.is_error:
                response.read()
                raise error_of(response)
            # 200 instead of 206: the server sends the whole anew.
            whole = response.status_code != httpx.codes.PARTIAL_CONTENT
            with part.open("wb" if whole else "ab") as file:
                # As it comes: gathered into larger pieces, the last one would be lost with the line.
                for data in response.iter_raw():
                    file.write(data)
                    if file.tell() > artifact.bytes:
                        break
    except httpx.TransportError as error:
        return str(error).rstrip(".") or type(error).__name__
    return ""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
