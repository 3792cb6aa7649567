"""The manifest: every file of a job with its size and SHA-256, and what made them.

It is the last object a job publishes, and what a download is verified against.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import CorruptObject
from core.store.keys import check_key

MANIFEST = "manifest.json"

_MEDIA_TYPES = {
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}


class ManifestFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(check_key)] = Field(
        description="relative to the manifest's folder"
    )
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    files: list[ManifestFile]
    spec: dict[str, Any]
    revision: str
    versions: dict[str, str]
    seeds: dict[str, int]

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "Manifest":
        names = [file.name for file in self.files]
        if len(set(names)) != len(names) or MANIFEST in names:
            raise ValueError(f"file names must be distinct, and none of them {MANIFEST}")
        return self


def build(
    folder: Path,
    *,
    spec: Mapping[str, Any],
    revision: str,
    versions: Mapping[str, str],
    seeds: Mapping[str, int],
) -> Manifest:
    """The manifest of every file below `folder`, its own `manifest.json` left out.

    Raises:
        CorruptObject: something below `folder` is neither a file nor a folder.
    """
    files = [
        ManifestFile(name=name, bytes=(folder / name).stat().st_size, sha256=_digest(folder / name))
        for name in sorted(_names(folder))
    ]
    return Manifest(
        files=files,
        spec=dict(spec),
        revision=revision,
        versions=dict(sorted(versions.items())),
        seeds=dict(sorted(seeds.items())),
    )


def write(manifest: Manifest, folder: Path) -> None:
    """Write `folder/manifest.json`, whole or not at all. Same manifest, same bytes."""
    temporary = folder / f"{MANIFEST}.part"
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(manifest.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MANIFEST)


def read(data: bytes) -> Manifest:
    """The manifest in `data`. Raises CorruptObject."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CorruptObject(
            f"{MANIFEST} is not a manifest: {place}: {first['msg']}.",
            remedy="Download the job's artifacts again.",
        ) from None


def verify(folder: Path) -> Manifest:
    """The manifest of `folder`, once every file it names has been found intact.

    Files that it does not name are not looked at.

    Raises:
        CorruptObject: a file is missing, or its bytes differ; the message names it.
    """
    try:
        manifest = read((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise _corrupt(MANIFEST, "is missing") from None
    for file in manifest.files:
        verify_file(folder, file)
    return manifest


def verify_file(folder: Path, file: ManifestFile) -> None:
    """Raise CorruptObject unless `folder` holds `file` with the bytes that its manifest promises."""
    path = folder / file.name
    if path.is_symlink() or not path.is_file():
        raise _corrupt(file.name, "is missing")
    size = path.stat().st_size
    if size != file.bytes:
        raise _corrupt(file.name, f"has {size} bytes, {file.bytes} expected")
    if _digest(path) != file.sha256:
        raise _corrupt(file.name, "differs from its SHA-256")


def media_type(name: str) -> str:
    """What to serve the artifact `name` as.

    Only our own page is HTML, and only our own plots are SVG: a file that came with a model must never
    run in a browser.
    """
    if name.startswith("report/plots/") and name.endswith(".svg"):
        return "image/svg+xml"
    if name == "report/report.html":
        return "text/html; charset=utf-8"
    return _MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _corrupt(name, "is neither a file nor a folder")
        if path.is_file() and name != MANIFEST:
            yield name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _corrupt(name: str, what: str) -> CorruptObject:
    return CorruptObject(f"{name} {what}.", remedy="Download or publish it again.")
