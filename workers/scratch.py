"""Scratch folders that go away: at the end of a run, or, after a crash, at the next start."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "secateur-run-"
_LOCK = ".lock"


def base(work_dir: Path | None) -> Path:
    """Where scratch folders lie."""
    return work_dir or Path(tempfile.gettempdir())


@contextmanager
def scratch(within: Path, name: str) -> Iterator[Path]:
    """A private empty folder for one run, removed at the end of the block.

    Its lock is taken before the folder is made and ends with this process, so that what a
    crash leaves behind can be told from what is in use.
    """
    within.mkdir(parents=True, exist_ok=True)
    folder = within / f"{_PREFIX}{name}"
    lock = within / f"{_PREFIX}{name}{_LOCK}"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def remove_leftovers(within: Path) -> int:
    """Remove the scratch folders below `within` whose process is gone; how many there were."""
    removed = 0
    for lock in within.glob(f"{_PREFIX}*{_LOCK}"):
        try:
            held = lock.open("r+")
        except OSError:
            continue  # removed meanwhile, or another user's
        with held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock.with_name(lock.name.removesuffix(_LOCK)), ignore_errors=True)
            lock.unlink(missing_ok=True)
            removed += 1
    return removed
