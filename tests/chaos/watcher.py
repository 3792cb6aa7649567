"""Looks at every row all the time, by a clock that no harm moves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from core.errors import StoreUnavailable
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.states import OWNED, TERMINAL, State
from tests.chaos.harms import Held

LOOK_SECONDS = 0.25


@dataclass
class Seen:
    """What the rows said, and when by the monotonic clock that was first seen."""

    left: dict[Held, float] = field(default_factory=dict)
    """When a job was no longer held under an epoch under which it once was."""
    manifests: dict[str, set[str]] = field(default_factory=dict)
    """Every manifest that a job ever named."""
    ends: dict[str, list[State]] = field(default_factory=dict)
    """The terminal states that a job was ever seen in."""
    _held: set[Held] = field(default_factory=set)

    def look(self, rows: list[tuple[str, State, int, str | None]], now: float) -> None:
        held = {(job_id, epoch) for job_id, state, epoch, _ in rows if state in OWNED}
        for lost in self._held - held:
            self.left[lost] = now
        self._held = held
        for job_id, state, _, manifest in rows:
            if manifest:
                self.manifests.setdefault(job_id, set()).add(manifest)
            if state in TERMINAL and self.ends.setdefault(job_id, [])[-1:] != [state]:
                self.ends[job_id].append(state)

    @property
    def ended(self) -> int:
        return len(self.ends)


@contextmanager
def watching(url: str) -> Iterator[Seen]:
    """What the rows of the database at `url` say while the block runs."""
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        query = select(JobRecord.id, JobRecord.state, JobRecord.epoch, JobRecord.manifest_key)
        database = Database(url)
        while not over.wait(LOOK_SECONDS):
            try:
                with database.read() as session:
                    rows = [(i, s, e, m) for i, s, e, m in session.execute(query)]
            except StoreUnavailable:
                continue
            seen.look(rows, time.monotonic())
        database.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
