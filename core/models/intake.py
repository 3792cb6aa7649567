"""Which files of a model folder may be read. The folder is hostile until shown otherwise."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import BrokenCheckpoint, ModelNotFound, UnsafeModel

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack"})
"""Dense weights in formats that can carry code: never read, never copied."""

SKIPPED_FOLDERS = frozenset({".git", ".cache", "__pycache__"})
MAX_FILES = 10_000
MAX_INDEX_BYTES = 50_000_000
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Intake:
    """A checked listing. Paths are relative to `folder`, sorted."""

    folder: Path
    weights: tuple[Path, ...]
    auxiliary: tuple[Path, ...]
    left_out: tuple[Path, ...]
    """Other copies of the dense weights, which a pruned checkpoint must not carry along."""


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
    files = [path.relative_to(root) for path in _walk(root)]
    shards = _shards(root)
    weights = tuple(f for f in files if f in shards)
    pickles = [f for f in files if f.suffix in PICKLES]
    if not weights:
        if pickles:
            raise UnsafeModel(
                f"{folder} has its weights only as {pickles[0].name}, a format that can execute code.",
                remedy="Convert the checkpoint to safetensors first.",
            )
        raise ModelNotFound(f"{folder} holds no .safetensors file.", remedy="Check model.source.")
    extra = [f for f in files if f.suffix == ".safetensors" and f not in weights]
    left_out = tuple(sorted(pickles + extra))
    auxiliary = tuple(f for f in files if f not in weights and f not in left_out)
    return Intake(root, weights, auxiliary, left_out)


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


def _shards(root: Path) -> frozenset[Path]:
    """The shards a loader of the original model would read: those the index names, or the one file."""
    index = root / INDEX
    if not index.is_file():
        return frozenset({Path(SINGLE)})
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise BrokenCheckpoint(f"{INDEX} is larger than {MAX_INDEX_BYTES} bytes.")
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BrokenCheckpoint(f"{INDEX} has no readable weight_map.") from None
    odd = [n for n in names if not isinstance(n, str) or "/" in n or not n.endswith(".safetensors")]
    if odd:
        raise UnsafeModel(f"{INDEX} names {odd[0]!r}, which is not a shard of this folder.")
    missing = sorted(n for n in names if not (root / n).is_file())
    if missing:
        raise BrokenCheckpoint(f"{INDEX} names {missing[0]}, which is not there.")
    return frozenset(Path(n) for n in names)


def content_revision(intake: Intake) -> str:
    """`sha256:…` over names and bytes of weights and auxiliary files: equal if and only if they are."""
    total = hashlib.sha256()
    for file in sorted((*intake.weights, *intake.auxiliary)):
        with (intake.folder / file).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{digest}  {file.as_posix()}\n".encode())
    return f"sha256:{total.hexdigest()}"
