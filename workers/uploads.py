"""A run's files on their way into the store: some while it still runs, the rest when it is done."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final, Self

from core.errors import StoreUnavailable
from core.progress import Progress, Report
from core.store import manifest
from core.store.base import ObjectStore
from core.store.manifest import MANIFEST

logger = logging.getLogger(__name__)

RUN_SHARE: Final = 0.95  # of a job's progress; the rest is the way into the store
PAUSE_SECONDS: Final = 5.0  # before a store that is away is asked again
_LOOK_SECONDS: Final = 0.1  # how long a wish to stop may stay unseen


@dataclass(frozen=True, slots=True)
class _Sent:
    state: tuple[int, int, int]
    """What the file was when it was handed over: the same file, unchanged, is not sent again."""
    end: Future[None]


class Uploads:
    """Puts files below `prefix`, one at a time, in a thread of its own.

    One at a time, because each is sent in several parts at once, and a put's memory is used once.
    `turn` is held by whoever sends, for others that send beside it.
    `links` is a folder on the disk of the run's output. Where an earlier process has begun to store
    the same files, `resume` sends only what is missing. A store that is away at the end is asked again
    for `patience` seconds.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        links: Path,
        *,
        resume: bool,
        patience: float = 0.0,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._store, self._prefix, self._links, self._resume = store, prefix, links, resume
        self._patience, self._turn = patience, turn or Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="uploads")
        self._sent: dict[str, _Sent] = {}
        self._digests: dict[str, str] = {}  # none before the run is done
        self.result_bytes = 0
        """What the published files take."""
        self.sent_bytes = 0
        """What was put into the store, also what was put twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Send nothing more; what is being sent is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def add(self, name: str, path: Path) -> None:
        """Send a file that will not change any more; `path` may go away once this returns."""
        link = self._links / str(len(self._sent))
        try:
            self._links.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(path)
        except OSError as error:  # a file system without links: it has to wait for the end
            logger.info("%s is stored at the end: %s", name, error)
            return
        self._sent[name] = self._begin(name, link, resume=self._resume)

    def publish(self, out: Path, report: Report) -> str:
        """Have every file that `out`'s manifest names in the store, then the manifest; its key.

        Raises:
            CorruptObject: a file is not what the manifest says.
            StoreError, DiskFull: the store does not take it.
            Cancelled: from `report`, soon, whatever is being sent.
        """
        files = manifest.read((out / MANIFEST).read_bytes()).files
        self._digests = {file.name: file.sha256 for file in files}
        total, done = sum(file.bytes for file in files) or 1, 0
        for number, file in enumerate(files, 1):
            told = f"storing {file.name} ({number} of {len(files)})"
            share = RUN_SHARE + (1 - RUN_SHARE) * done / total
            self._settle(file.name, out, Progress("publishing", share, told), report)
            done += file.bytes
        self.result_bytes = done
        self._settle(MANIFEST, out, Progress("publishing", 1.0, f"storing {MANIFEST}"), report)
        return f"{self._prefix}/{MANIFEST}"

    def _settle(self, name: str, out: Path, progress: Progress, report: Report) -> None:
        """Wait until `name` is in the store; an early try that failed was none."""
        early = self._sent.get(name)
        if early and early.state == _state(out / name):
            self._await(early.end, progress, report)
            error = early.end.exception()
            if error is None:
                return
            logger.warning("%s: trying again: %s", name, error)
        resume, give_up_at = self._resume or early is not None, monotonic() + self._patience
        while True:
            again = self._begin(name, out / name, resume=resume)
            self._await(again.end, progress, report)
            error = again.end.exception()
            if not isinstance(error, StoreUnavailable) or monotonic() >= give_up_at:
                again.end.result()
                return
            logger.warning("%s: trying again in %g s: %s", name, PAUSE_SECONDS, error)
            away = replace(progress, message=f"{progress.message}: the store is away, trying again")
            self._await(self._pool.submit(sleep, PAUSE_SECONDS), away, report)
            resume = True

    def _begin(self, name: str, path: Path, *, resume: bool) -> _Sent:
        return _Sent(_state(path), self._pool.submit(self._put, name, path, resume))

    def _put(self, name: str, path: Path, resume: bool) -> None:
        began = monotonic()
        key, known = f"{self._prefix}/{name}", self._digests.get(name)
        with self._turn:
            self._store.put_file(key, path, sha256=known, resume=resume)
        size = path.stat().st_size
        self.sent_bytes += size
        logger.info("stored %s, %d bytes in %.1f s", name, size, monotonic() - began)

    def _await(self, end: "Future[Any]", progress: Progress, report: Report) -> None:
        report(progress)
        while wait([end], _LOOK_SECONDS).not_done:
            report(progress)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
