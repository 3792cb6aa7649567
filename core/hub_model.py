"""A model of the hub as a folder here: small files whole, shards as sparse files that fill up.

Everything is asked for at one commit, which is what the branch or tag had when the run began. Each
file has a digest in the hub's listing, and is held against it as soon as it is whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from core.crew import Tell, Watch, work_off
from core.errors import BrokenCheckpoint
from core.filling import Elsewhere, Filler, check_room
from core.hub_line import Line, Patience
from core.hub_repository import Repository, line_to_hub, look_up
from core.hub_sources import HubSource
from core.kept import NOTHING_KEPT, Hold, Place, place_in
from core.listing import check_index, check_sizes, put_headers
from core.models.intake import INDEX, Intake, sort_out
from core.spans import size as bytes_in

PATIENCE: Final = Patience()
THREADS: Final = 8


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
    far = _look_up(line_to_hub(PATIENCE), source, watch)
    place = _place(source, far.commit, scratch, kept)
    _put_index(far, place, watch)
    intake = sort_out(place.files.resolve(), sorted(far.files), str(source))
    taken = (*intake.weights, *intake.auxiliary)
    sizes = {file: far.files[file].size for file in taken}
    check_sizes(intake, sizes, most, str(source))
    _distrust(place, _elsewhere(far, taken), watch)
    _check_rooms(place, scratch, sizes, copies)
    filler = Filler(place.files, _elsewhere(far, taken), watch, place.journal)
    fill = Pinned(filler, far.commit, place.hold)
    fill.ensure((file, 0, sizes[file]) for file in intake.auxiliary)
    put_headers(filler, intake)
    return replace(intake, fill=fill)


def _look_up(line: Line, source: HubSource, watch: Watch) -> Repository:
    found: list[Repository] = []

    def ask(_: None, __: Tell) -> None:
        found.append(look_up(line, source))

    def hear(_: int) -> None:
        watch(0, 1)  # whoever watches may want to stop

    work_off([None], ask, 1, hear)
    return found[0]


def _elsewhere(far: Repository, files: Iterable[Path]) -> Elsewhere:
    found = {file: far.files[file] for file in files}
    return Elsewhere(
        sizes={file: held.size for file, held in found.items()},
        sha256={file: held.sha256 for file, held in found.items() if held.sha256},
        git={file: held.git for file, held in found.items() if not held.sha256},
        revision=far.commit,
        open_part=far.open,
        threads=THREADS,
        damaged=BrokenCheckpoint,
    )


def _place(source: HubSource, commit: str, scratch: Path, kept: Path | None) -> Place:
    """Where the files go: below `kept`, unless another run is writing there, else for this run alone."""
    if kept is not None:
        found = place_in(kept / "models" / source.name.lower() / commit)
        if found is not None:
            return found
    folder = scratch / "source"
    folder.mkdir()
    return Place(folder, NOTHING_KEPT)


def _put_index(far: Repository, place: Place, watch: Watch) -> None:
    index = Path(INDEX)
    if index in far.files:
        check_index(far.files[index].size)
        _distrust(place, _elsewhere(far, [index]), watch)
        Filler(place.files, _elsewhere(far, [index]), watch, place.journal).whole([index])


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
