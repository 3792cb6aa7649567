"""Which files of a model folder may be read. The folder is hostile until shown otherwise."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import BrokenCheckpoint, ModelNotFound, UnsafeModel
from core.strict_json import Bounds, NotStrictJson, parse_strictly

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack"})
"""Dense weights in formats that can carry code: never read, never copied."""

OTHER_FORMATS = frozenset({".gguf", ".ggml", ".onnx", ".onnx_data", ".ot", ".tflite"})
"""Dense weights as other programs read them: not copied either, and never downloaded."""

SKIPPED_FOLDERS = frozenset({".git", ".cache", "__pycache__"})
MAX_FILES = 10_000
MAX_INDEX_BYTES = 16_000_000
"""Of 100,000 tensors, 160 bytes each."""
_INDEX_BOUNDS = Bounds(MAX_INDEX_BYTES, values=300_000)
SHARD = re.compile(r"[\w][\w.=+@ -]{0,240}\.safetensors")
"""Names of shards: plain ones, of no folder."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Fill(Protocol):
    """Where the bytes of a folder's files come from, when they are needed."""

    def ensure(self, wanted: Iterable[tuple[Path, int, int]]) -> None:
        """Have these ranges (file, begin, end) in their files; ranges asked for together may be
        fetched together."""

    def revision(self) -> str | None:
        """What names the content, as long as not all of it is here; None once it is."""


class AllHere:
    """A `Fill` for folders that are complete."""

    def ensure(self, wanted: Iterable[tuple[Path, int, int]]) -> None:
        """Nothing is missing."""

    def revision(self) -> str | None:
        return None


ALL_HERE = AllHere()


@dataclass(frozen=True, slots=True)
class Intake:
    """A checked listing. Paths are relative to `folder`, sorted."""

    folder: Path
    weights: tuple[Path, ...]
    auxiliary: tuple[Path, ...]
    left_out: tuple[Path, ...]
    """Other copies of the dense weights, which a pruned checkpoint must not carry along."""
    fill: Fill = ALL_HERE

    def size(self, file: Path) -> int:
        return (self.folder / file).stat().st_size


def take_in(folder: Path) -> Intake:
    """List the checkpoint in `folder`, refusing links that leave it and weights that are pickles.

    Raises:
        ModelNotFound: no such folder, or no weights in it.
        UnsafeModel: a link out of the folder, only pickled weights, or too many files.
        BrokenCheckpoint: the index of shards is unreadable or names a file that is not there.
    """
    if not folder.is_dir():
        raise ModelNotFound(f"{folder} is not a folder.", remedy="Check model.source.")
    root = folder.resolve()
    return sort_out(root, listing(root), str(folder))


def listing(root: Path) -> list[Path]:
    """Every file below `root`, which is resolved, relative to it and sorted. Raises UnsafeModel."""
    return [path.relative_to(root) for path in _walk(root)]


def sort_out(root: Path, files: Sequence[Path], named: str) -> Intake:
    """What each of `files`, sorted, is good for. They need not lie below `root` yet, except for the
    index of shards where there is one; `named` is for messages. Raises as `take_in`."""
    index = None
    if Path(INDEX) in files:
        with (root / INDEX).open("rb") as stream:
            index = stream.read(MAX_INDEX_BYTES + 1)
    return Intake(root, *chosen(files, index, named))


Chosen = tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, ...]]


def chosen(files: Sequence[Path], index: bytes | None, named: str) -> Chosen:
    """Weights, auxiliary files and what is left out, of `files`; `index` holds the bytes of the index
    of shards where there is one. Raises as `take_in`."""
    shards = frozenset({Path(SINGLE)}) if index is None else shards_of(index, files)
    weights = tuple(f for f in files if f in shards)
    pickles = [f for f in files if f.suffix in PICKLES]
    if not weights:
        if pickles:
            raise UnsafeModel(
                f"{named} has its weights only as {pickles[0].name}, a format that can execute code.",
                remedy="Convert the checkpoint to safetensors first.",
            )
        raise ModelNotFound(f"{named} holds no .safetensors file.", remedy="Check model.source.")
    extra = [f for f in files if f.suffix == ".safetensors" and f not in weights]
    others = [f for f in files if f.suffix in OTHER_FORMATS]
    left_out = tuple(sorted(pickles + extra + others))
    return weights, tuple(f for f in files if f not in weights and f not in left_out), left_out


def _walk(root: Path) -> list[Path]:
    found: list[Path] = []
    pending = [root]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            if entry.is_symlink() and not entry.resolve().is_relative_to(root):
                raise UnsafeModel(
                    f"{entry.relative_to(root)} links out of the model folder.",
                    remedy="Copy the file in its place.",
                )
            if entry.is_dir():
                # A linked folder inside the model could loop; its files are reached by their own path.
                if not entry.is_symlink() and entry.name not in SKIPPED_FOLDERS:
                    pending.append(entry)
            elif entry.is_file():
                found.append(entry)
            else:
                raise UnsafeModel(f"{entry.relative_to(root)} is not a regular file.")
            if len(found) > MAX_FILES:
                raise UnsafeModel(f"{root} holds more than {MAX_FILES} files.")
    return sorted(found)


def shards_of(index: bytes, files: Sequence[Path]) -> frozenset[Path]:
    """The shards a loader of the original model would read, since `index` names them.

    Raises:
        BrokenCheckpoint: it has no readable weight_map, or names a file that is not there.
        UnsafeModel: it names what is no file of the folder.
    """
    try:
        document = parse_strictly(index, _INDEX_BOUNDS)
    except NotStrictJson as error:
        raise BrokenCheckpoint(
            f"{INDEX} has no readable weight_map: it {error}.", remedy="Download it again."
        ) from None
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise BrokenCheckpoint(f"{INDEX} has no readable weight_map.")
    odd = [n for n in weight_map.values() if not isinstance(n, str) or not SHARD.fullmatch(n)]
    if odd:
        raise UnsafeModel(f"{INDEX} names {odd[0]!r:.200}, which is not a shard of this folder.")
    names = set(weight_map.values())
    missing = sorted(names - {f.as_posix() for f in files})
    if missing:
        raise BrokenCheckpoint(f"{INDEX} names {missing[0]}, which is not there.")
    return frozenset(Path(n) for n in names)


def content_revision(intake: Intake) -> str:
    """`sha256:…` over names and bytes of weights and auxiliary files: equal if and only if they are.

    Where they lie elsewhere and not all were read, what their store says of them instead.
    """
    if (announced := intake.fill.revision()) is not None:
        return announced
    total = hashlib.sha256()
    for file in sorted((*intake.weights, *intake.auxiliary)):
        with (intake.folder / file).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{digest}  {file.as_posix()}\n".encode())
    return f"sha256:{total.hexdigest()}"
