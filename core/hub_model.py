"""A model of the hub as a folder here: small files whole, shards as sparse files that fill up.

Everything is asked for at one commit, which is what the branch or tag had when the run began. Each
file has a digest in the hub's listing, and is held against it as soon as it is whole.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from huggingface_hub import get_token

from core import vault
from core.crew import Tell, Watch, work_off
from core.errors import BrokenCheckpoint, ModelNotFound, SourceUnavailable
from core.filling import Elsewhere, Filler, check_room
from core.hub_line import ENDPOINT, Line, Patience
from core.hub_reader import PartReader
from core.hub_sources import HubSource
from core.kept import NOTHING_KEPT, Hold, Place, place_in
from core.listing import check_index, check_sizes, files_of, put_headers
from core.models.intake import INDEX, Intake, sort_out
from core.spans import size as bytes_in

PUBLIC_HUB: Final = "https://huggingface.co"
PATIENCE: Final = Patience()
THREADS: Final = 8
_MAX_PAGES: Final = 1000
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Published:
    """A file as the hub lists it at a commit."""

    size: int
    sha256: str | None
    """Of a large file; of others git's name, a SHA-1, is all that the hub knows."""
    git: str


class Pinned:
    """A `Fill` whose content has the name of a commit."""

    def __init__(self, filler: Filler, commit: str, hold: Hold | None) -> None:
        self._filler, self._commit, self._hold = filler, commit, hold

    def ensure(self, wanted: Iterable[tuple[Path, int, int]]) -> None:
        self._filler.ensure(wanted)
        if self._hold is not None and self._filler.is_whole():
            self._hold.share()

    def revision(self) -> str:
        return self._commit


def take_in(
    source: HubSource,
    scratch: Path,
    watch: Watch,
    *,
    copies: int,
    most: int | None = None,
    kept: Path | None = None,
) -> Intake:
    """The checkpoint that `source` names, as an `Intake` of a folder below `kept` or `scratch`.

    Commit and listing, all files beside the weights and the headers of all shards are read here;
    tensors come when they are asked for. `copies` is how often the model must fit on the disk, `most`
    how many bytes it may have. In `kept`, what an earlier run received is not asked for again.

    Raises:
        ModelNotFound: no such model or revision, or not for this token, or no weights in it.
        UnsafeModel: odd names, only pickled weights, too many files.
        BrokenCheckpoint: an unreadable index or header, or bytes that are not those published.
        ModelTooLarge: more than `most`, or a file that is larger than a file may be.
        DiskFull: the disk is too small; nothing large was fetched.
        SourceUnavailable, SourceRefused: the hub does not answer, or sends us where it must not.
    """
    token = vault.hub_token() or get_token()
    line = Line(os.environ.get("HF_ENDPOINT") or PUBLIC_HUB, token, PATIENCE)
    commit, listed = _look_up(line, source, watch)
    place = _place(source, commit, scratch, kept)
    far = _Far(line, source, commit, listed)
    _put_index(far, place, watch)
    intake = sort_out(place.files.resolve(), sorted(listed), str(source))
    taken = (*intake.weights, *intake.auxiliary)
    sizes = {file: listed[file].size for file in taken}
    check_sizes(intake, sizes, most, str(source))
    _distrust(place, far.elsewhere(taken), watch)
    _check_rooms(place, scratch, sizes, copies)
    filler = Filler(place.files, far.elsewhere(taken), watch, place.journal)
    fill = Pinned(filler, commit, place.hold)
    fill.ensure((file, 0, sizes[file]) for file in intake.auxiliary)
    put_headers(filler, intake)
    return replace(intake, fill=fill)


@dataclass(frozen=True, slots=True)
class _Far:
    """The model's files at the hub."""

    line: Line
    source: HubSource
    commit: str
    listed: Mapping[Path, Published]

    def elsewhere(self, files: Iterable[Path]) -> Elsewhere:
        found = {file: self.listed[file] for file in files}
        return Elsewhere(
            sizes={file: held.size for file, held in found.items()},
            sha256={file: held.sha256 for file, held in found.items() if held.sha256},
            git={file: held.git for file, held in found.items() if not held.sha256},
            revision=self.commit,
            open_part=self.open,
            threads=THREADS,
            damaged=BrokenCheckpoint,
        )

    def open(self, file: Path, begin: int, end: int) -> AbstractContextManager[RawIOBase]:
        path = f"/{self.source.name}/resolve/{self.commit}/{quote(file.as_posix())}"
        named = f"{self.source}, {file}"
        return PartReader(self.line, path, named, (begin, end), self.listed[file].size)


def _look_up(line: Line, source: HubSource, watch: Watch) -> tuple[str, dict[Path, Published]]:
    """The commit of the revision, and the files that are there at it."""
    found: list[tuple[str, dict[Path, Published]]] = []

    def ask(_: None, __: Tell) -> None:
        commit = _commit(line, source)
        found.append((commit, files_of(_list(line, source, commit), str(source))))

    def hear(_: int) -> None:
        watch(0, 1)  # whoever watches may want to stop

    work_off([None], ask, 1, hear)
    return found[0]


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
        plain = isinstance(name, str) and type(size) is int and size >= 0
        known = _COMMIT.fullmatch(git) if sha256 is None else _SHA256.fullmatch(sha256)
    except (KeyError, TypeError, AttributeError):
        plain, known = False, None
    if not plain or not known:
        raise SourceUnavailable(
            f"{source}: the hub lists a file without a name, a size or a digest.", remedy=ENDPOINT
        )
    return name, Published(size, sha256, git)


def _place(source: HubSource, commit: str, scratch: Path, kept: Path | None) -> Place:
    """Where the files go: below `kept`, unless another run is writing there, else for this run alone."""
    if kept is not None:
        found = place_in(kept / "models" / source.name.lower() / commit)
        if found is not None:
            return found
    folder = scratch / "source"
    folder.mkdir()
    return Place(folder, NOTHING_KEPT)


def _put_index(far: _Far, place: Place, watch: Watch) -> None:
    index = Path(INDEX)
    if index in far.listed:
        check_index(far.listed[index].size)
        _distrust(place, far.elsewhere([index]), watch)
        Filler(place.files, far.elsewhere([index]), watch, place.journal).whole([index])


def _distrust(place: Place, elsewhere: Elsewhere, watch: Watch) -> None:
    """Forget what an earlier run has left whole, and is not what the hub publishes."""

    def check(file: Path, tell: Tell) -> None:
        if not _is_sound(place, elsewhere, file):
            if not place.alone:
                raise BrokenCheckpoint(
                    f"{place.files / file} is damaged, and another run is reading it.",
                    remedy="Run it again when that one has ended, or remove the folder.",
                )
            place.journal.forget(file)
        tell(elsewhere.sizes[file])

    left = [file for file in elsewhere.sizes if place.journal.there(file)]
    work_off(left, check, THREADS, lambda _: watch(0, 1))


def _is_sound(place: Place, elsewhere: Elsewhere, file: Path) -> bool:
    """Whether `file` is as its journal says, as far as that can be told before it is whole."""
    path, size = place.files / file, elsewhere.sizes[file]
    if not path.is_file() or path.stat().st_size != size:
        return False
    whole = bytes_in(place.journal.there(file)) == size
    return not whole or elsewhere.differs(place.files, file) is None


def _check_rooms(place: Place, scratch: Path, sizes: Mapping[Path, int], copies: int) -> None:
    """Raise DiskFull unless there is room for what is missing, and for the result beside it."""
    total = sum(sizes.values())
    missing = total - sum(bytes_in(place.journal.there(file)) for file in sizes)
    if place.files.stat().st_dev == scratch.stat().st_dev:
        check_room(place.files, missing + (copies - 1) * total)
        return
    check_room(place.files, missing)
    check_room(scratch, (copies - 1) * total)
