"""A model in a bucket as a folder here: small files whole, shards as sparse files that fill up."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import Final

from core.crew import Watch
from core.errors import BrokenCheckpoint, ModelNotFound, UnsafeModel
from core.filling import Elsewhere, Filler, check_room
from core.models.headers import LENGTH_BYTES, header_length
from core.models.intake import (
    INDEX,
    MAX_FILES,
    MAX_INDEX_BYTES,
    SKIPPED_FOLDERS,
    Intake,
    sort_out,
)
from core.s3_objects import Listed, Objects
from core.sources import S3Source, is_plain
from core.store.keys import check_key

MAX_AUXILIARY_BYTES: Final = 1 << 30
"""Of one file beside the weights. Tokenizers have some megabytes."""
MAX_ALL_AUXILIARY_BYTES: Final = 4 << 30


def take_in(source: S3Source, folder: Path, watch: Watch, *, copies: int) -> Intake:
    """The checkpoint below `source`, as an `Intake` of the new `folder`.

    Listing, index, all files beside the weights and the headers of all shards are read here; tensors
    come when they are asked for. `copies` is how often the model must fit on the disk.

    Raises:
        ModelNotFound: no such bucket or prefix, or no weights in it.
        UnsafeModel: odd names, only pickled weights, too many files.
        BrokenCheckpoint: an unreadable index or header, or a file beside the weights that is none.
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
    _check_sizes(intake, taken)
    check_room(root, copies * sum(held.size for held in taken.values()))
    seen = objects.look_at_all(list(taken.values()), watch)
    looked = {file: seen[held.key] for file, held in taken.items()}
    (root / INDEX).unlink(missing_ok=True)  # it comes again with the others, in the same version
    filler = Filler(root, _elsewhere(objects, looked), watch)
    filler.whole(intake.auxiliary)
    _put_headers(filler, intake)
    return replace(intake, fill=filler)


def listed_files(objects: Objects) -> dict[Path, Listed]:
    """The model's files, whose names are plain. Raises ModelNotFound, UnsafeModel, SourceError."""
    source = objects.source
    folder = f"{source.key}/" if source.key else ""
    found: dict[Path, Listed] = {}
    for number, listed in enumerate(objects.list(folder)):
        if number == MAX_FILES:
            raise UnsafeModel(f"{source} holds more than {MAX_FILES} objects.")
        name = listed.key.removeprefix(folder)
        if name.endswith("/") or name == "":  # what consoles put where a folder is to be seen
            continue
        _check_name(name, source)
        if SKIPPED_FOLDERS.isdisjoint(PurePosixPath(name).parts[:-1]):
            found[Path(name)] = listed
    if not found:
        raise ModelNotFound(f"{source} holds no object.", remedy="Check model.source.")
    both = [file for file in found if not found.keys().isdisjoint(file.parents)]
    if both:
        raise UnsafeModel(f"{source} holds {both[0].parent} as a file and as a folder.")
    return found


def _check_name(name: str, source: S3Source) -> None:
    try:
        check_key(name)
    except ValueError:
        plain = False
    else:
        plain = is_plain(name)
    if not plain:
        raise UnsafeModel(
            f"{source} holds an object named {name[:200]!r}, which is no plain file name.",
            remedy="Rename it, or point model.source at a folder of its own.",
        )


def _put_index(objects: Objects, listed: Mapping[Path, Listed], root: Path) -> None:
    held = listed.get(Path(INDEX))
    if held is None:
        return
    if held.size > MAX_INDEX_BYTES:
        raise BrokenCheckpoint(f"{INDEX} is larger than {MAX_INDEX_BYTES} bytes.")
    with objects.open(held, 0, held.size) as source:
        (root / INDEX).write_bytes(source.readall())


def _check_sizes(intake: Intake, taken: Mapping[Path, Listed]) -> None:
    sizes = {file: taken[file].size for file in intake.auxiliary}
    large = [file for file, size in sizes.items() if size > MAX_AUXILIARY_BYTES]
    if large or sum(sizes.values()) > MAX_ALL_AUXILIARY_BYTES:
        file = large[0] if large else max(sizes, key=lambda f: sizes[f])
        raise BrokenCheckpoint(
            f"{file} has {sizes[file]} bytes and is no weights; {MAX_AUXILIARY_BYTES} are allowed for"
            f" one file, {MAX_ALL_AUXILIARY_BYTES} for all files beside the weights.",
            remedy="Put the checkpoint into a folder without it.",
        )


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


def _put_headers(filler: Filler, intake: Intake) -> None:
    """Have the headers of all shards here, none of which may be longer than a header is."""
    for shard in intake.weights:
        if intake.size(shard) < LENGTH_BYTES:
            raise BrokenCheckpoint(f"{shard} has {intake.size(shard)} bytes: it is no safetensors.")
    filler.ensure((shard, 0, LENGTH_BYTES) for shard in intake.weights)
    ends = {shard: LENGTH_BYTES + _header_length(intake, shard) for shard in intake.weights}
    filler.ensure((shard, LENGTH_BYTES, end) for shard, end in ends.items())


def _header_length(intake: Intake, shard: Path) -> int:
    with (intake.folder / shard).open("rb") as stream:
        return header_length(stream.read(LENGTH_BYTES), intake.size(shard), shard.as_posix())
