"""The files of a push: what they are called there, and that they are what the manifest says."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.destinations.places import What
from core.errors import BadRequest
from core.result import MODEL, Result
from core.store.manifest import MANIFEST, ManifestFile

Tell = Callable[[float, str], None]
"""Hears how far a push is, 0 to 1, and what it does."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file, found intact on this machine."""

    name: str
    path: Path
    bytes: int
    sha256: str

    def blob_id(self) -> str:
        """The name that git gives these bytes."""
        digest = hashlib.sha1(b"blob %d\0" % self.bytes, usedforsecurity=False)
        with self.path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    url: str
    revision: str | None
    """The commit, where the place has commits."""
    sent: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that were there already, with these bytes."""
    bytes: int
    """Of the files sent."""


def outgoing(result: Result, what: What) -> list[Outgoing]:
    """Every file to be there, each verified against the manifest; the manifest itself last.

    Raises:
        CorruptObject: a file is missing or damaged.
        BadRequest: the result has no model.
    """
    if not any(result.below(MODEL)):
        raise BadRequest(f"{result.folder} holds no model: an analysis has none to push.")
    if what == "model":
        return [_checked(result, file, MODEL) for file in result.below(MODEL)]
    path = result.folder / MANIFEST
    whole = [_checked(result, file, "") for file in result.manifest.files]
    return [*whole, Outgoing(MANIFEST, path, path.stat().st_size, result.digest)]


def _checked(result: Result, file: ManifestFile, drop: str) -> Outgoing:
    name = file.name.removeprefix(drop)
    return Outgoing(name, result.path(file), file.bytes, file.sha256)


def meter(files: Sequence[Outgoing], tell: Tell) -> Callable[[Outgoing], None]:
    """Call it before each file of `files` is sent, in any order."""
    total, done = sum(file.bytes for file in files) or 1, 0

    def next_file(file: Outgoing) -> None:
        nonlocal done
        tell(done / total, f"sending {file.name}")
        done += file.bytes

    return next_file
