"""A finished result on this machine: the folder that a run wrote or `download` fetched."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadRequest, CorruptObject
from core.store import manifest
from core.store.manifest import MANIFEST, Manifest, ManifestFile

REPORT = "report/report.json"
MODEL = "model/"


@dataclass(frozen=True, slots=True)
class Result:
    """A folder, its manifest and its report. Files are checked when they are asked for."""

    folder: Path
    manifest: Manifest
    report: dict[str, Any]
    digest: str
    """SHA-256 of the manifest, and so of everything that the run left."""

    @classmethod
    def open(cls, folder: Path) -> "Result":
        """Raises BadRequest where `folder` holds no result, CorruptObject where it is damaged."""
        try:
            data = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise BadRequest(
                f"{folder} holds no result: {MANIFEST}: {error.strerror}.",
                remedy="Name a folder that `secateur prune` or `secateur download` wrote.",
            ) from None
        named = manifest.read(data)
        digest = hashlib.sha256(data).hexdigest()
        unread = cls(folder, named, {}, digest)
        unread.path(unread.file(REPORT))
        return cls(folder, named, read_report(folder), digest)

    def file(self, name: str) -> ManifestFile:
        """The manifest's entry of `name`. Raises CorruptObject."""
        found = next((file for file in self.manifest.files if file.name == name), None)
        if found is None:
            raise CorruptObject(f"{self.folder / MANIFEST} names no {name}.")
        return found

    def below(self, prefix: str) -> Iterator[ManifestFile]:
        """The manifest's entries whose names begin with `prefix`."""
        return (file for file in self.manifest.files if file.name.startswith(prefix))

    def path(self, file: ManifestFile) -> Path:
        """Where `file` lies, once its bytes have been found to be the manifest's.

        Raises:
            CorruptObject: it is missing, or its bytes differ.
        """
        manifest.verify_file(self.folder, file)
        return self.folder / file.name


def read_report(place: Path) -> dict[str, Any]:
    """The report in a result's folder, or in the file itself.

    Raises:
        BadRequest: there is none.
        CorruptObject: it is no report.
    """
    file = place / REPORT if place.is_dir() else place
    try:
        report = json.loads(file.read_bytes())
    except OSError as error:
        raise BadRequest(
            f"cannot read {file}: {error.strerror}.",
            remedy="Name a folder that `secateur prune` or `secateur download` wrote, or its report.json.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise CorruptObject(f"{file} is not JSON: {error}.") from None
    if not isinstance(report, dict) or "kind" not in report or "sinks" not in report:
        raise CorruptObject(f"{file} is not a report of Secateur.")
    return report
