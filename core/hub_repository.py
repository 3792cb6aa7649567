"""A model as the hub lists it: the commit that its revision has now, and the files at it.

Listings are read here alone: for runs, which fetch the files, and for estimates, which look at some
of them. Free of huggingface_hub, which an API does without.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from core.errors import ModelNotFound, SourceUnavailable
from core.hub_line import ENDPOINT, Line, Patience
from core.hub_reader import PartReader
from core.hub_sources import HubSource
from core.hub_token import found_token
from core.listing import files_of

PUBLIC_HUB: Final = "https://huggingface.co"
_MAX_PAGES: Final = 1000
_MAX_SIZE: Final = 1 << 44
"""Bytes of one file, beyond which a listing is nonsense. Hubs take a hundredth of that."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Published:
    """A file as the hub lists it at a commit."""

    size: int
    sha256: str | None
    """Of a large file; of others git's name, a SHA-1, is all that the hub knows."""
    git: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A model's files at one commit, which is the only one that they are read at."""

    line: Line
    source: HubSource
    commit: str
    files: Mapping[Path, Published]

    def open(self, file: Path, begin: int, end: int) -> PartReader:
        """The bytes [begin, end) of `file`. Raises SourceUnavailable, SourceRefused as they are read."""
        path = f"/{self.source.name}/resolve/{self.commit}/{quote(file.as_posix())}"
        named = f"{self.source}, {file}"
        return PartReader(self.line, path, named, (begin, end), self.files[file].size)


def hub_endpoint() -> str:
    """Which hub is asked."""
    return os.environ.get("HF_ENDPOINT") or PUBLIC_HUB


def line_to_hub(patience: Patience) -> Line:
    """A line to that hub, with the token that is found here. Raises SourceUnavailable."""
    return Line(hub_endpoint(), found_token(), patience)


def look_up(line: Line, source: HubSource) -> Repository:
    """What `source` names now.

    Raises:
        ModelNotFound: no such model or revision, not for this token, or no file in it.
        UnsafeModel: names that are no plain file names, or too many.
        SourceUnavailable, SourceRefused: the hub does not answer, not as a hub does, or sends us
            where it must not.
    """
    commit = _commit(line, source)
    return Repository(line, source, commit, files_of(_list(line, source, commit), str(source)))


def _commit(line: Line, source: HubSource) -> str:
    revision = quote(source.revision, safe="")
    answer, _ = line.json(f"/api/models/{source.name}/revision/{revision}", str(source))
    about = answer if isinstance(answer, dict) else {}
    commit, name = about.get("sha"), about.get("id")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise SourceUnavailable(f"{source}: the hub names no commit.", remedy=ENDPOINT)
    if isinstance(name, str) and name.lower() != source.name.lower():
        raise ModelNotFound(
            f"{source}: the hub answers for {name[:200]!r} instead.", remedy="Name that one."
        )
    if _COMMIT.fullmatch(source.revision) and commit != source.revision:
        raise SourceUnavailable(f"{source}: the hub answers for {commit}.", remedy=ENDPOINT)
    return commit


def _list(line: Line, source: HubSource, commit: str) -> Iterator[tuple[str, Published]]:
    """The name of each file at `commit`, and what the hub says of it; page by page."""
    path = f"/api/models/{source.name}/tree/{commit}?recursive=true"
    cursor = ""
    for _ in range(_MAX_PAGES):
        page, headers = line.json(path + cursor, str(source))
        if not isinstance(page, list):
            break
        for entry in page:
            if not isinstance(entry, dict) or entry.get("type") != "directory":
                yield _published(entry, source)
        following = re.search(r'<([^>]*)>;\s*rel="next"', headers.get("link", ""))
        if following is None:
            return
        # Not the address itself, which is the hub's word for where to go.
        found = parse_qs(urlsplit(following[1]).query).get("cursor", [""])[0]
        cursor = f"&cursor={quote(found, safe='')}"
    raise SourceUnavailable(f"{source}: the hub's listing is none, or has no end.", remedy=ENDPOINT)


def _published(entry: Any, source: HubSource) -> tuple[str, Published]:
    try:
        name, size, git, large = entry["path"], entry["size"], entry["oid"], entry.get("lfs")
        sha256 = None if large is None else str(large["oid"]).removeprefix("sha256:")
        size = size if large is None else large["size"]
        plain = isinstance(name, str) and type(size) is int and 0 <= size <= _MAX_SIZE
        known = _COMMIT.fullmatch(git) if sha256 is None else _SHA256.fullmatch(sha256)
    except (KeyError, TypeError, AttributeError):
        plain, known = False, None
    if not plain or not known:
        raise SourceUnavailable(
            f"{source}: the hub lists a file without a name, a size or a digest.", remedy=ENDPOINT
        )
    return name, Published(size, sha256, git)
