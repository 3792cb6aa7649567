"""Fetch one artifact: resumed where it stopped, checked by SHA-256, in place whole or not at all."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Final

import httpx
from pydantic import BaseModel

from core.errors import CorruptObject
from core.store.keys import check_key
from secateur.line import Line
from secateur.problems import Unreachable, error_of

_TRIES: Final = 5
_WRITTEN: Final = 1 << 20  # bytes at a time: an event loop goes to a thread for each
_READ: Final = 8 << 20  # hashed in about 10 ms


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


def part_of(target: Path, artifact: Artifact) -> Path:
    """Where `artifact` grows until it is whole.

    Named by content: what is left of another version is never continued. And by name: files with
    the same bytes may come at the same time.
    """
    named = f"{artifact.sha256} {target.name}".encode()
    return target.with_name(f".{hashlib.sha256(named).hexdigest()[:32]}.part")


async def fetch(line: Line, artifact: Artifact, target: Path) -> None:
    """Put `artifact` at `target`, unless it is there already.

    Raises:
        CorruptObject: the bytes that came are not the artifact's; they are thrown away.
        Unreachable: the server stopped answering, several times in a row.
    """
    if target.is_file() and await _digest(line, target) == artifact.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target, artifact)
    part.touch()
    failures = 0
    while (before := part.stat().st_size) < artifact.bytes:
        reason = await _append(line, artifact, part)
        failures = failures + 1 if part.stat().st_size <= before else 0
        if failures >= _TRIES:
            raise Unreachable(
                f"{artifact.name} stopped at {before} of {artifact.bytes} bytes: {reason or 'nothing more came'}.",
                remedy="Download again: it goes on from there.",
            )
        if reason:
            await line.pause(0.1 * 2**failures)
    if part.stat().st_size != artifact.bytes or await _digest(line, part) != artifact.sha256:
        part.unlink()
        raise CorruptObject(
            f"{artifact.name} arrived with other bytes than its SHA-256 promises.",
            remedy="Download it again; if that fails too, the store is damaged.",
        )
    part.replace(target)


async def _append(line: Line, artifact: Artifact, part: Path) -> str:
    """Ask for what `part` still lacks and add what comes; why it stopped early, if it did."""
    have = part.stat().st_size
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{artifact.sha256}"'}
    try:
        # The server may send for a file to where it is stored; what arrives is checked all the same.
        async with line.stream(artifact.url, headers=headers, follow_redirects=True) as response:
            if response.is_error:
                await line.rest(response)
                raise error_of(response)
            # 200 instead of 206: the server sends the whole anew.
            whole = response.status_code != httpx.codes.PARTIAL_CONTENT
            with part.open("wb" if whole else "ab") as file:
                async with aclosing(line.pieces(response)) as pieces:
                    await _save(line, pieces, file, artifact.bytes)
    except httpx.TransportError as error:
        return str(error).rstrip(".") or type(error).__name__
    return ""


async def _save(line: Line, pieces: AsyncIterator[bytes], file: BinaryIO, most: int) -> None:
    """Write `pieces` until the file has more than `most` bytes, if it comes to that."""
    size, held = file.tell(), bytearray()
    try:
        async for piece in pieces:
            size += len(piece)
            held += piece
            if size > most:
                return
            if len(held) >= _WRITTEN:
                full, held = held, bytearray()
                await line.disk(file.write, full)
    finally:
        file.write(held)  # with the line, or whoever wanted it, only what did not come is lost


async def _digest(line: Line, path: Path) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while data := await line.disk(file.read, _READ):
            await line.disk(seen.update, data)
    return seen.hexdigest()
