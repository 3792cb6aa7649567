"""How the service stands, in numbers: for all tenants together, and nothing about any of them.

Each query reads an index, and only the part of it about jobs that have not ended, however many have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import StoreUnavailable
from core.jobs import tallies
from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.states import OWNED, TERMINAL, State

LIVING = tuple(state for state in State if state not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Figures:
    """One state of the database."""

    jobs: Mapping[State, int]
    """Jobs that have not ended, by state; zeros included."""
    oldest_queued: datetime | None
    """Since when the job waits that has waited longest."""
    busy_workers: int
    stored_bytes: int
    counts: Mapping[tallies.Key, float]


class FigureSide:
    """What metrics ask of the database. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def figures(self) -> Figures:
        with self._database.read() as session:
            return Figures(
                jobs=_living(session),
                oldest_queued=session.scalar(
                    select(func.min(JobRecord.queued_at)).where(JobRecord.state == State.QUEUED)
                ),
                busy_workers=session.scalar(
                    select(func.count(JobRecord.worker.distinct())).where(
                        JobRecord.state.in_(OWNED)
                    )
                )
                or 0,
                stored_bytes=session.scalar(
                    select(func.sum(JobRecord.stored_bytes)).where(
                        JobRecord.manifest_key.is_not(None)
                    )
                )
                or 0,
                counts=tallies.read(session),
            )


def _living(session: Session) -> dict[State, int]:
    counted = session.execute(
        select(JobRecord.state, func.count())
        .where(JobRecord.state.in_(LIVING))
        .group_by(JobRecord.state)
    )
    return dict.fromkeys(LIVING, 0) | dict(counted.all())


class Remembered:
    """Figures that are some seconds old at most. However many ask at once, one looks."""

    def __init__(
        self, look: Callable[[], Figures], clock: Callable[[], float], seconds: float
    ) -> None:
        self._look, self._clock, self._seconds = look, clock, seconds
        self._lock = Lock()
        self._seen: Figures | StoreUnavailable | None = None
        self._seen_at = 0.0

    def __call__(self) -> Figures:
        """Raises StoreUnavailable, which is remembered, too: who waits for a database waits once."""
        with self._lock:
            if self._seen is None or self._clock() - self._seen_at >= self._seconds:
                try:
                    self._seen = self._look()
                except StoreUnavailable as error:
                    self._seen = error
                self._seen_at = self._clock()
            found = self._seen
        if isinstance(found, StoreUnavailable):
            raise found
        return found
