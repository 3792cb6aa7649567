"""What a bucket or a hub lists of a model, judged before anything large is fetched."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from core.errors import BrokenCheckpoint, ModelNotFound, UnsafeModel
from core.filling import Filler
from core.intake_errors import ModelTooLarge
from core.models.headers import LENGTH_BYTES, header_length
from core.models.intake import INDEX, MAX_FILES, MAX_INDEX_BYTES, SKIPPED_FOLDERS, Intake
from core.sources import is_plain
from core.store.keys import check_key

T = TypeVar("T")

MAX_SHARD_BYTES: Final = 200_000_000_000
"""Of one file with weights. Published ones have five gigabytes, and hubs take no more than this."""
MAX_AUXILIARY_BYTES: Final = 1 << 30
"""Of one file beside the weights. Tokenizers have some megabytes."""
MAX_ALL_AUXILIARY_BYTES: Final = 4 << 30


def files_of(listed: Iterable[tuple[str, T]], source: str) -> dict[Path, T]:
    """What is listed, by path relative to the model's folder.

    Raises:
        ModelNotFound: nothing.
        UnsafeModel: odd names, more than MAX_FILES of them, a name that is file and folder.
    """
    found: dict[Path, T] = {}
    for number, (name, entry) in enumerate(listed):
        if number == MAX_FILES:
            raise UnsafeModel(f"{source} holds more than {MAX_FILES} files.")
        if name.endswith("/") or name == "":  # what consoles put where a folder is to be seen
            continue
        _check_name(name, source)
        if SKIPPED_FOLDERS.isdisjoint(PurePosixPath(name).parts[:-1]):
            found[Path(name)] = entry
    if not found:
        raise ModelNotFound(f"{source} holds no file.", remedy="Check model.source.")
    both = [file for file in found if not found.keys().isdisjoint(file.parents)]
    if both:
        raise UnsafeModel(f"{source} holds {both[0].parent} as a file and as a folder.")
    return found


def _check_name(name: str, source: str) -> None:
    try:
        check_key(name)
    except ValueError:
        plain = False
    else:
        plain = is_plain(name)
    if not plain:
        raise UnsafeModel(
            f"{source} holds a file named {name[:200]!r}, which is no plain file name.",
            remedy="Rename it, or point model.source at a folder of its own.",
        )


def check_index(size: int) -> None:
    """Raise BrokenCheckpoint for an index of shards that is too large to be one."""
    if size > MAX_INDEX_BYTES:
        raise BrokenCheckpoint(f"{INDEX} is larger than {MAX_INDEX_BYTES} bytes.")


def check_sizes(intake: Intake, sizes: Mapping[Path, int], most: int | None, source: str) -> None:
    """Judge the files that would be fetched, of which `most` bytes are allowed.

    Raises:
        BrokenCheckpoint: a file beside the weights is too large to be one.
        ModelTooLarge: a file with weights, or all files together.
    """
    beside = {file: sizes[file] for file in intake.auxiliary}
    large = [file for file, size in beside.items() if size > MAX_AUXILIARY_BYTES]
    if large or sum(beside.values()) > MAX_ALL_AUXILIARY_BYTES:
        file = large[0] if large else max(beside, key=lambda f: beside[f])
        raise BrokenCheckpoint(
            f"{file} has {beside[file]} bytes and is no weights; {MAX_AUXILIARY_BYTES} are allowed for"
            f" one file, {MAX_ALL_AUXILIARY_BYTES} for all files beside the weights.",
            remedy="Put the checkpoint into a folder without it.",
        )
    for shard in intake.weights:
        if sizes[shard] > MAX_SHARD_BYTES:
            raise ModelTooLarge(
                f"{source}: {shard} has {sizes[shard]} bytes; {MAX_SHARD_BYTES} are allowed for one file.",
                remedy="Split the checkpoint into smaller shards.",
            )
    total = sum(sizes[file] for file in (*intake.weights, *intake.auxiliary))
    if most is not None and total > most:
        raise ModelTooLarge(
            f"{source} has {total} bytes in {len(intake.weights) + len(intake.auxiliary)} files;"
            f" {most} are allowed.",
            remedy="Name a smaller model, or ask the operator to raise SECATEUR_MAX_MODEL_BYTES.",
        )


def put_headers(filler: Filler, intake: Intake) -> None:
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
