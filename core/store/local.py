"""The object store in a local folder.

    root/objects/KEY      what readers see; a file gets here by rename only, so it is always whole
    root/incoming/…       files being written, on the same file system, never listed; each named
                          by the beginning of its key

A file below `incoming` is locked by its writer, so what a crash left behind is told from what is
still being written, and removed by the next process that writes.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from core.errors import ArtifactNotFound, CorruptObject, DiskFull, StoreUnavailable
from core.store.base import ObjectInfo, Upload
from core.store.keys import check_key, check_prefix

_COPY_BYTES = 4 << 20
_NAMED_BYTES = 150  # of a key; enough for the folder of a run, and no name grows too long
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """An `ObjectStore` in the folder `root`, which is made when something is first written.

    Several processes may share it. Folders are private to their owner (0700), files 0600.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        self._swept = False

    def put_file(
        self,
        key: str,
        source: Path,
        *,
        sha256: str | None = None,
        resume: bool = False,  # noqa: ARG002 - a copy is soon made anew
    ) -> None:
        # A copy and not a hard link: the source may be changed in place later.
        with source.open("rb") as reader:
            self._put(key, lambda writer: _copy(reader, writer, sha256))

    def put_bytes(self, key: str, data: bytes) -> None:
        self._put(key, lambda writer: writer.write(data))

    def open(self, key: str, start: int = 0) -> BinaryIO:
        if start < 0:
            raise ValueError(f"start must not be negative, got {start}")
        self.info(key)
        with self._named_errors("read"):
            try:
                reader = self._path(key).open("rb")
            except _GONE:
                raise _not_found(key) from None
            reader.seek(start)
            return reader

    def get_file(self, key: str, target: Path) -> None:
        with self.open(key) as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY_BYTES)

    def read_bytes(self, key: str) -> bytes:
        with self.open(key) as reader, self._named_errors("read"):
            return reader.read()

    def info(self, key: str) -> ObjectInfo:
        with self._named_errors("read"):
            try:
                found = self._path(key).lstat()
            except _GONE:
                raise _not_found(key) from None
        if not stat.S_ISREG(found.st_mode):
            raise _not_found(key)
        return ObjectInfo(key, found.st_size, _when(found))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder, slash, _ = check_prefix(prefix).rpartition("/")
        found = self._walk(self._path(folder) if folder else self._objects, folder + slash)
        return (each for each in found if each.key.startswith(prefix))

    def delete_prefix(self, prefix: str) -> int:
        folder = self._path(prefix.removesuffix("/"))
        removed = 0
        with self._named_errors("delete from"):
            for here, _, names in os.walk(folder, topdown=False, onerror=_raise_unless_gone):
                for name in names:
                    with suppress(FileNotFoundError):
                        Path(here, name).unlink()
                        removed += 1
                # A writer may be putting a new object here at this moment: then it stays.
                with suppress(OSError):
                    Path(here).rmdir()
        return removed

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """With those of dead writers until another process writes here, which removes them."""
        start = quote(check_prefix(prefix), safe="")
        with self._named_errors("list"):
            entries = _entries(self._incoming)
        for name, found in entries:
            if found and name.startswith(start):
                yield Upload(unquote(name.rpartition(".")[0]), _when(found))

    def abort_uploads(self, prefix: str, older_than: timedelta, now: datetime) -> int:
        """Those of dead writers only: a writer that lives is known by its lock."""
        start = quote(check_prefix(prefix), safe="")
        removed = 0
        with self._named_errors("delete from"):
            for name, found in _entries(self._incoming):
                if found and name.startswith(start) and now - _when(found) > older_than:
                    removed += _remove_abandoned(self._incoming / name)
        return removed

    def presign(self, key: str, filename: str, seconds: int) -> None:  # noqa: ARG002 - the protocol's
        check_key(key)

    def prepare(self) -> None:
        with self._named_errors("make"):
            self._prepare()

    def check(self) -> None:
        probe = b"secateur"
        with self._named_errors("use"):
            self._prepare()
            with self._temporary("check", lambda writer: writer.write(probe)) as path:
                intact = path.read_bytes() == probe
            writable = os.access(self._objects, os.W_OK | os.X_OK)
        if not (intact and writable):
            raise self._unavailable("use", "what was written could not be read back")

    def _path(self, key: str) -> Path:
        """Where `key` lies. Raises ValueError if it, or a link on its way, leaves the store."""
        path = self._objects / check_key(key)
        if os.path.realpath(path) != os.path.join(os.path.realpath(self._objects), key):  # noqa: PTH118 - Path.resolve raises on a loop of links
            raise ValueError(f"bad object key {key!r}: a symbolic link is on its way")
        return path

    def _put(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        with self._named_errors("write"):
            self._prepare()
            with self._temporary(key, fill) as temporary:
                self._move(temporary, path)

    def _move(self, temporary: Path, path: Path) -> None:
        while True:
            _make_folders(path.parent)
            try:
                temporary.replace(path)
            except FileNotFoundError:
                # `delete_prefix` removed the empty folder between the two steps: make it again.
                temporary.lstat()
            else:
                break
        _sync_folder(path.parent)

    @contextmanager
    def _temporary(self, key: str, fill: Callable[[BinaryIO], object]) -> Iterator[Path]:
        """A complete file below `incoming`, on the disk; removed at the end unless moved away."""
        beginning = quote(key, safe="")[:_NAMED_BYTES]
        handle, name = tempfile.mkstemp(prefix=f"{beginning}.", dir=self._incoming)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as writer:
                fcntl.flock(writer, fcntl.LOCK_EX)
                fill(writer)
                writer.flush()
                os.fsync(writer.fileno())
                yield path
        finally:
            path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        _make_folders(self._objects)
        _make_folders(self._incoming)
        if not self._swept:
            self._swept = True
            for path in self._incoming.iterdir():
                _remove_abandoned(path)

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` in key order, which for a folder means its name with the slash."""
        with self._named_errors("list"):
            entries = _entries(folder)
        for name, found in sorted(entries, key=lambda e: e[0] + "/" * (e[1] is None)):
            if found is None:
                yield from self._walk(folder / name, f"{prefix}{name}/")
            else:
                yield ObjectInfo(prefix + name, found.st_size, _when(found))

    @contextmanager
    def _named_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no room left in the store at {self.root} ({error.strerror}).",
                    remedy="Free space there, or let old results go: SECATEUR_RETENTION and `secateur gc`.",
                ) from error
            raise self._unavailable(verb, error.strerror or str(error)) from error

    def _unavailable(self, verb: str, reason: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"cannot {verb} the store at {self.root}: {reason}.",
            remedy="Check that the folder exists and that this user may write there.",
        )


def _copy(reader: BinaryIO, writer: BinaryIO, sha256: str | None) -> None:
    """Copy the rest of a file. Raises CorruptObject where a given SHA-256 is not its own."""
    seen = hashlib.sha256()
    while data := reader.read(_COPY_BYTES):
        writer.write(data)
        if sha256:
            seen.update(data)
    if sha256 and seen.hexdigest() != sha256:
        raise CorruptObject(f"{reader.name} differs from its SHA-256.", remedy="Run it again.")


def _not_found(key: str) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"no object {key!r} in the store.", remedy="List the job's artifacts for what there is."
    )


def _when(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)


def _entries(folder: Path) -> list[tuple[str, os.stat_result | None]]:
    """Names in `folder` with facts of files and None for folders. Links are not ours: left out."""
    found: list[tuple[str, os.stat_result | None]] = []
    # An object, or the whole folder, may be deleted while it is being listed.
    with suppress(*_GONE), os.scandir(folder) as scan:
        for entry in scan:
            with suppress(*_GONE):
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.name, None))
                elif entry.is_file(follow_symlinks=False):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _make_folders(folder: Path) -> None:
    """`folder` and what is missing above it, each entered in its parent on the disk."""
    while not folder.is_dir():
        _make_folders(folder.parent)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():  # a file: an object has the name of this folder
                raise
        except FileNotFoundError:
            continue  # `delete_prefix` removed the empty parent again
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Put a new name in `folder` on the disk; without it a rename may be lost with the power."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # `delete_prefix` took it meanwhile, and the name with it
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(path: Path) -> bool:
    """Remove what a writer that died left below `incoming`; whether that is what it was.

    An empty file stays: its writer may be about to lock it.
    """
    with suppress(OSError), path.open("rb") as left:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(left.fileno()).st_size:
            path.unlink()
            return True
    return False


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, _GONE):
        raise error
