"""From a source in a spec to where its bytes are, within what the operator allows.

Free of torch and of any download, so that the API can refuse a source before a worker sees it.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from core.errors import NotAvailable, SourceRefused
from core.examples import folder_of

Roots = tuple[Path, ...] | None
"""Folders below which files may be read; None allows any path its user can read."""

HUB_DATASET = re.compile(
    r"hf://datasets/(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(@(?P<revision>refs/convert/[\w.-]+|refs/pr/\d+|[\w.-]{1,200}))?(/(?P<path>.+?))?/?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class BuiltinText:
    """A text that came with the package."""

    name: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of text, or a token file, on this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A data set of the hub, as org/name, or one file or folder of it."""

    name: str
    revision: str
    path: str | None


TextSource = BuiltinText | LocalFile | HubDataset


def local_path(source: str, roots: Roots) -> Path:
    """The path of a `file:///…` source, links resolved.

    Raises:
        SourceRefused: the path lies outside the roots, or is not a plain absolute path.
    """
    parts = urlsplit(source)
    if parts.netloc or parts.query or parts.fragment or "\0" in unquote(parts.path):
        raise SourceRefused(f"{source} is not a plain file:///absolute/path.")
    path = Path(unquote(parts.path)).resolve()
    if roots is not None and not any(path.is_relative_to(root.resolve()) for root in roots):
        raise SourceRefused(
            f"{source} lies outside the folders this server may read.",
            remedy="Ask its operator to add the folder to SECATEUR_MODEL_ROOTS.",
        )
    return path


def model_folder(source: str, roots: Roots) -> Path:
    """The folder of a model source. Raises SourceRefused, ModelNotFound, NotAvailable."""
    if source.startswith("example:"):
        return folder_of(source.removeprefix("example:"))
    if source.startswith("file://"):
        return local_path(source, roots)
    raise NotAvailable(f"model source {source}")


def text_source(source: str, roots: Roots) -> TextSource:
    """What a calibration source names. Nothing is opened or downloaded.

    Raises:
        SourceRefused: a path outside the roots, or not a data set's name.
        NotAvailable: a scheme this version does not read.
    """
    if source.startswith("builtin:"):
        return BuiltinText(source.removeprefix("builtin:"))
    if source.startswith("file://"):
        return LocalFile(local_path(source, roots))
    if source.startswith("hf://datasets/"):
        return hub_dataset(source)
    raise NotAvailable(f"calibration source {source}")


def hub_dataset(source: str) -> HubDataset:
    """The data set of `hf://datasets/org/name[@revision][/path]`. Raises SourceRefused."""
    found = HUB_DATASET.fullmatch(source)
    name, revision, path = found.group("name", "revision", "path") if found else ("..", None, None)
    # Neither a repository's name nor a git reference has two dots in a row.
    if ".." in name + (revision or "") or (path is not None and not is_plain(path)):
        raise SourceRefused(
            f"{source} does not name a data set.",
            remedy="Write hf://datasets/org/name, then @revision and /path/in/it if need be.",
        )
    return HubDataset(name, revision or "main", path)


def is_plain(name: str) -> bool:
    """Whether a file name from elsewhere stays below the folder it is put into."""
    parts = name.split("/")
    return (
        not PurePosixPath(name).is_absolute()
        and not any(part in ("", ".", "..") for part in parts)
        and not any(ord(c) < 32 or c == "\\" for c in name)
    )
