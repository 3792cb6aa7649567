"""A run's points in the object store, below its own epoch.

    jobs/{id}/{epoch}/resume/00003-block.safetensors   a point, which never changes
    jobs/{id}/{epoch}/resume/index.json                which points there are, whoever made them

Each run writes below its own epoch alone, so a stale worker can disturb nobody: whoever goes on reads
an index once, and believes what hashes to what that says.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Final, Self

from core.errors import SecateurError, StoreError, StoreUnavailable
from core.found_points import INDEX, Entry, Finder, Index
from core.jobs.objects import resume_of
from core.points import Level, Saved
from core.store.base import ObjectStore

logger = logging.getLogger(__name__)

WAITING_BYTES: Final = 4 << 30
"""Of points on the disk that wait for the store: a slow one must not fill the disk of the run."""

PAUSE_SECONDS: Final = 5.0  # before a store that is away is asked again
_LEAVE_SECONDS: Final = 5.0  # for what is being sent when a run is done

Tell = Callable[[Level, str, dict[str, str | None]], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Whose points these are."""

    job_id: str
    epoch: int
    name: str
    """In words: `attempt 2`."""


class StoredPoints:
    """`Points` that are sent by a thread of their own, from files in the folder `spool`.

    What waits there is bounded: a store that cannot keep up costs points, and never time. `tell` is
    called in the run's thread only; `turn` is held while a point is being sent.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: Run,
        spool: Path,
        *,
        tell: Tell,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._store, self._run, self._spool, self._tell = store, run, spool, tell
        self._turn = turn or Lock()
        self._identity: dict[str, str] = {}
        self._entries: list[Entry] = []  # the sender's alone, once it has begun
        self._queue: SimpleQueue[tuple[str, Path] | None] = SimpleQueue()
        self._sender: Thread | None = None
        self._closed = Event()
        self._trouble: str | None = None
        self._over = False
        self._waiting, self._counting = 0, Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send nothing more. After a run that is done, what is being sent is waited for a little, so
        that nothing comes after the job's end."""
        self._closed.set()
        self._queue.put(None)
        if self._sender is not None and kind is None:
            self._sender.join(_LEAVE_SECONDS)
        shutil.rmtree(self._spool, ignore_errors=True)

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, str] | None = None
    ) -> None:
        self._tell(level, message, dict(data or {}))

    def open(self, run: Mapping[str, str], look: Callable[[int, int], None]) -> list[Saved]:
        self._identity = dict(run)
        if self._run.epoch == 1:
            return []
        finder = Finder(self._store, self._run.job_id, self._run.epoch, self._complain)
        found = self._spool / "found"
        try:
            found.mkdir(parents=True, exist_ok=True)
            self._entries, saved = finder.furthest(run, found, look)
        except (StoreError, OSError) as error:
            self._complain(f"finished parts of earlier attempts cannot be read: {error}")
            saved = []
        if not saved:
            self.tell("starting at the beginning: there is no finished part to go on from")
        return saved

    def save(self, number: int, kind: str, write: Callable[[Path], object]) -> None:
        if self._trouble is not None:
            self._tell_trouble()
            return
        name = f"{number:05}-{kind}"
        path = self._spool / name
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            write(path)
            size = path.stat().st_size
        except OSError as error:
            path.unlink(missing_ok=True)
            self._give_up(f"this machine's disk does not take them: {error}")
            return
        if self._sender is None:
            del self._entries[number:]
            self._sender = Thread(target=self._send_all, name="points", daemon=True)
            self._sender.start()
        if self._count(size) > WAITING_BYTES:
            path.unlink()
            self._give_up("the store takes them more slowly than they come")
            return
        self._queue.put((name, path))

    def _complain(self, what: str) -> None:
        self.tell(what, level="warning")

    def _give_up(self, why: str) -> None:
        self._trouble = why
        logger.warning("points are kept no longer: %s", why)

    def _tell_trouble(self) -> None:
        if not self._over:
            self._over = True
            self._complain(
                f"from here on nothing is kept for another attempt to go on from: {self._trouble}"
            )

    def _count(self, more: int) -> int:
        with self._counting:
            self._waiting += more
            return self._waiting

    def _send_all(self) -> None:
        while (task := self._queue.get()) is not None and not self._closed.is_set():
            name, path = task
            if self._trouble is None:
                self._send(name, path)
            self._count(-path.stat().st_size)
            path.unlink(missing_ok=True)

    def _send(self, name: str, path: Path) -> None:
        """Try until the point and the index that names it are in the store, or the run is over."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entry = Entry(
            name=name,
            epoch=self._run.epoch,
            origin=self._run.name,
            bytes=path.stat().st_size,
            sha256=digest,
        )
        resume = False
        while not self._closed.is_set():
            try:
                self._put(entry, path, resume=resume)
            except StoreUnavailable as error:
                logger.warning("%s: trying again in %g s: %s", name, PAUSE_SECONDS, error)
                resume = True
                self._closed.wait(PAUSE_SECONDS)
            except SecateurError as error:
                self._give_up(str(error))
                return
            else:
                return

    def _put(self, entry: Entry, path: Path, *, resume: bool) -> None:
        index = Index(origin=self._run.name, run=self._identity, entries=[*self._entries, entry])
        with self._turn:
            key = entry.key(self._run.job_id)
            self._store.put_file(key, path, sha256=entry.sha256, resume=resume)
            place = f"{resume_of(self._run.job_id, self._run.epoch)}/{INDEX}"
            self._store.put_bytes(place, index.model_dump_json().encode())
        self._entries.append(entry)
