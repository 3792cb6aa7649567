"""From a source in a spec to where its bytes are, within what the operator allows.

Free of torch and of any download, so that the API can refuse a source before a worker sees it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from core.errors import NotAvailable, SourceRefused
from core.examples import folder_of
from core.hub_sources import DEFAULT_REVISION, SETTING, HubSource, hub_source, is_allowed

Roots = tuple[Path, ...] | None

TEXTS = (".txt", ".jsonl", ".parquet", ".safetensors")
"""Names of objects that hold calibration text or tokens end in one of these."""

PLAIN = "Leave out what follows '?'; write '?', '#' and '%' in a key as %3F, %23 and %25."
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{2,62}")
HUB_DATASET = re.compile(
    r"hf://datasets/(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(@(?P<revision>refs/convert/[\w.-]+|refs/pr/\d+|[\w.-]{1,200}))?(/(?P<path>.+?))?/?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where files and objects may be read from. The default is what a user may do at a shell: all
    that the machine's own rights and credentials open."""

    roots: Roots = None
    """Folders below which files may be read. None allows any path, any bucket and any hub's model."""
    buckets: tuple[str, ...] = ()
    """Places such as s3://bucket/prefix?endpoint=…, below which objects may be read. They also say
    how their bucket is reached, which whoever names a source never can."""
    hubs: tuple[str, ...] = ()
    """Whose models may be read of a hub: hf://org, hf://org/name, or hf://* for all."""


@dataclass(frozen=True, slots=True)
class S3Source:
    """One object, or all objects below a folder of a bucket."""

    bucket: str
    key: str
    """Of the object or the folder, without slashes at its ends; empty for the whole bucket."""
    place: str
    """The allowed place it lies in, as its operator wrote it."""

    @classmethod
    def of_place(cls, place: str) -> "S3Source":
        """All that an operator allows at one place."""
        return cls(urlsplit(place).netloc, _folder(place), place)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".removesuffix("/")


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


ModelSource = Path | S3Source | HubSource
TextSource = BuiltinText | LocalFile | HubDataset | S3Source


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


def model_source(source: str, allowed: Allowed, revision: str = DEFAULT_REVISION) -> ModelSource:
    """Where a model is: a folder, a bucket, or a hub. Nothing is opened or asked for.

    Raises:
        SourceRefused: outside of what is allowed.
        ModelNotFound: an example that there is not.
        NotAvailable: a scheme this version does not read.
    """
    if source.startswith("example:"):
        return folder_of(source.removeprefix("example:"))
    if source.startswith("file://"):
        return local_path(source, allowed.roots)
    if source.startswith("s3://"):
        return s3_source(source, allowed)
    if source.startswith("hf://"):
        return _hub_model(source, allowed, revision)
    raise NotAvailable(f"model source {source}")


def _hub_model(source: str, allowed: Allowed, revision: str) -> HubSource:
    found = hub_source(source, revision)
    if allowed.roots is not None and not is_allowed(found, allowed.hubs):
        raise SourceRefused(
            f"hf://{found.name} is none of the hub's models that this server may read.",
            remedy=f"Ask its operator to add it, or its organisation, to {SETTING}.",
        )
    return found


def text_source(source: str, allowed: Allowed) -> TextSource:
    """What a calibration source names. Nothing is opened or downloaded.

    Raises:
        SourceRefused: outside of what is allowed, or not the name of a text or a data set.
        NotAvailable: a scheme this version does not read.
    """
    if source.startswith("builtin:"):
        return BuiltinText(source.removeprefix("builtin:"))
    if source.startswith("file://"):
        return LocalFile(local_path(source, allowed.roots))
    if source.startswith("hf://datasets/"):
        return hub_dataset(source)
    if source.startswith("s3://"):
        found = s3_source(source, allowed)
        if not found.key.endswith(TEXTS):
            raise SourceRefused(f"{source} does not end in one of {', '.join(TEXTS)}.")
        return found
    raise NotAvailable(f"calibration source {source}")


def s3_source(source: str, allowed: Allowed) -> S3Source:
    """What `s3://bucket/key` names, in the narrowest of the allowed places that it lies in.

    Raises:
        SourceRefused: it lies in none of them, or is more than a bucket and a plain key.
    """
    found = bucket_and_key(source)
    if found is None:
        raise SourceRefused(f"{source} is not a plain s3://bucket/key.", remedy=PLAIN)
    bucket, key = found
    place = narrowest(bucket, key, allowed.buckets)
    if place is None and allowed.roots is not None:
        raise SourceRefused(
            f"{source} lies outside the buckets this server may read.",
            remedy="Ask its operator to add the bucket, or a folder of it, to SECATEUR_SOURCE_BUCKETS.",
        )
    return S3Source(bucket, key, place or f"s3://{bucket}")


def bucket_and_key(url: str) -> tuple[str, str] | None:
    """What `s3://bucket/key` names, the key without a slash at its end; None where `url` says more.

    An endpoint that whoever names the bucket could choose would lead anywhere.
    """
    bucket, _, path = url.removeprefix("s3://").partition("/")
    key = unquote(path).removesuffix("/")
    plain = BUCKET.fullmatch(bucket) and (not path or is_plain(key))
    return (bucket, key) if plain and not set(url) & set("?#") else None


def narrowest(bucket: str, key: str, places: Iterable[str]) -> str | None:
    """Of the places that a key of a bucket lies in, the one with the longest prefix."""
    around = [place for place in places if _is_below(bucket, key, place)]
    return max(around, key=lambda place: len(_folder(place)), default=None)


def _is_below(bucket: str, key: str, place: str) -> bool:
    folder = _folder(place)
    return bucket == urlsplit(place).netloc and (not folder or f"{key}/".startswith(f"{folder}/"))


def _folder(place: str) -> str:
    return unquote(urlsplit(place).path).strip("/")


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
        and not any(ord(c) < 32 or c == "\\" or 0xD800 <= ord(c) < 0xE000 for c in name)
    )
