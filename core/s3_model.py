"""A model in a bucket as a folder here: small files whole, shards as sparse files that fill up."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from io import RawIOBase
from pathlib import Path

from core.crew import Watch
from core.errors import BrokenCheckpoint, ModelNotFound
from core.filling import Elsewhere, Filler, check_room
from core.listing import check_index, check_sizes, files_of, put_headers
from core.models.intake import INDEX, Intake, sort_out
from core.s3_objects import Listed, Objects
from core.sources import S3Source


def take_in(
    source: S3Source, folder: Path, watch: Watch, *, copies: int, most: int | None = None
) -> Intake:
    """The checkpoint below `source`, as an `Intake` of the new `folder`.

    Listing, index, all files beside the weights and the headers of all shards are read here; tensors
    come when they are asked for. `copies` is how often the model must fit on the disk, `most` how many
    bytes it may have.

    Raises:
        ModelNotFound: no such bucket or prefix, or no weights in it.
        UnsafeModel: odd names, only pickled weights, too many files.
        BrokenCheckpoint: an unreadable index or header, or a file beside the weights that is none.
        ModelTooLarge: more than `most`, or a file that is larger than a file may be.
        DiskFull: the disk is too small; nothing large was fetched.
        SourceError, SourceRefused: the store does not answer, or not to us.
    """
    objects = Objects(source, ModelNotFound)
    listed = listed_files(objects)
    folder.mkdir()
    root = folder.resolve()
    _put_index(objects, listed, root)
    intake = sort_out(root, sorted(listed), str(source))
    taken = {file: listed[file] for file in (*intake.weights, *intake.auxiliary)}
    sizes = {file: held.size for file, held in taken.items()}
    check_sizes(intake, sizes, most, str(source))
    check_room(root, copies * sum(sizes.values()))
    seen = objects.look_at_all(list(taken.values()), watch)
    looked = {file: seen[held.key] for file, held in taken.items()}
    (root / INDEX).unlink(missing_ok=True)  # it comes again with the others, in the same version
    filler = Filler(root, _elsewhere(objects, looked), watch)
    filler.whole(intake.auxiliary)
    put_headers(filler, intake)
    return replace(intake, fill=filler)


def listed_files(objects: Objects) -> dict[Path, Listed]:
    """The model's files, whose names are plain. Raises ModelNotFound, UnsafeModel, SourceError."""
    source = objects.source
    folder = f"{source.key}/" if source.key else ""
    named = ((held.key.removeprefix(folder), held) for held in objects.list(folder))
    return files_of(named, str(source))


def _put_index(objects: Objects, listed: Mapping[Path, Listed], root: Path) -> None:
    held = listed.get(Path(INDEX))
    if held is None:
        return
    check_index(held.size)
    with objects.open(held, 0, held.size) as source:
        (root / INDEX).write_bytes(source.readall())


def _elsewhere(objects: Objects, looked: Mapping[Path, Listed]) -> Elsewhere:
    def open_part(file: Path, begin: int, end: int) -> AbstractContextManager[RawIOBase]:
        return objects.open(looked[file], begin, end)

    return Elsewhere(
        sizes={file: held.size for file, held in looked.items()},
        sha256={file: held.sha256 for file, held in looked.items() if held.sha256},
        revision=announced_revision(looked),
        open_part=open_part,
        threads=objects.options.threads,
        damaged=BrokenCheckpoint,
    )


def announced_revision(looked: Mapping[Path, Listed]) -> str:
    """`s3-etag:…` over name, size, ETag and, where one is stored, SHA-256 of each object.

    The same objects, not written again, have the same revision; but the same bytes have another one
    where they were uploaded otherwise, since ETags depend on that.
    """
    total = hashlib.sha256()
    for file, held in sorted(looked.items()):
        line = f"{held.etag}  {held.size}  {held.sha256 or '-'}  {file.as_posix()}\n"
        total.update(line.encode())
    return f"s3-etag:{total.hexdigest()}"
