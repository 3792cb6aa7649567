"""Counts that only grow, kept in the database: they survive restarts, and jobs that are deleted.

Every count is a row of its own, written in the transaction of what it counts, so it is neither lost nor
made twice. Nobody ever changes a row: transactions that counted in a common one would wait for each
other, and all of them for a worker that was stopped in the middle of its own. Now and then `fold` puts
a few rows in the place of many.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.jobs.database import Database
from core.jobs.records import Base, TallyRecord

Name = Literal[
    "jobs_accepted",
    "jobs_finished",  # by outcome
    "attempts_started",
    "requeues",  # by reason
    "results_expired",
    "phase_seconds",  # by phase, in buckets
    "wait_seconds",  # in buckets
]

# Upper bounds of the buckets, in seconds: a stand-in's tenth of a second up to a day.
BOUNDS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)
SUM: Final = "sum"
FOLDED_FROM: Final = 500  # rows; fewer are as quickly read as folded
FOLDED_AT_ONCE: Final = 5000
INFINITE: Final = "+Inf"
_INSERT: Final = insert(Base.metadata.tables[TallyRecord.__tablename__])


class Key(NamedTuple):
    name: str
    label: str = ""
    bucket: str = ""
    """Of a histogram: a bound, `+Inf`, or `sum`. Counts are of this bucket alone."""


Counts = Mapping[Key, float]


def add(session: Session, counts: Counts) -> None:
    """Add to the counts, within the transaction of what is counted."""
    rows = [
        {"name": key.name, "label": key.label, "bucket": key.bucket, "value": float(value)}
        for key, value in counts.items()
    ]
    if rows:
        session.execute(_INSERT, rows)


def count(session: Session, name: Name, label: str = "") -> None:
    """One more."""
    add(session, {Key(name, label): 1})


def observed(name: Name, seconds: Mapping[str, float]) -> dict[Key, float]:
    """What one observation for each label adds to a histogram."""
    found: dict[Key, float] = {}
    for label, value in seconds.items():
        place = bisect_left(BOUNDS, value)
        bucket = f"{BOUNDS[place]:g}" if place < len(BOUNDS) else INFINITE
        found[Key(name, label, bucket)] = 1
        found[Key(name, label, SUM)] = max(value, 0.0)
    return found


def read(session: Session) -> dict[Key, float]:
    """All counts."""
    total = func.sum(TallyRecord.value)
    key = (TallyRecord.name, TallyRecord.label, TallyRecord.bucket)
    rows = session.execute(select(*key, total).group_by(*key))
    return {Key(name, label, bucket): value for name, label, bucket, value in rows}


class TallySide:
    """For whoever keeps house. Safe to be used by every worker at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fold_tallies(self) -> int:
        """Put one row for each count in the place of many; how many rows were taken away.

        Who reads meanwhile sees the old rows or the new ones; who folds meanwhile folds others.
        """
        ids = select(TallyRecord.id).order_by(TallyRecord.id).limit(FOLDED_AT_ONCE)
        with self._database.write() as session:
            found = session.scalars(ids.with_for_update(skip_locked=True)).all()
            if len(found) < FOLDED_FROM:
                return 0
            rows = session.execute(
                delete(TallyRecord)
                .where(TallyRecord.id.in_(found))
                .returning(
                    TallyRecord.name, TallyRecord.label, TallyRecord.bucket, TallyRecord.value
                )
            )
            counts: dict[Key, float] = {}
            for name, label, bucket, value in rows:
                key = Key(name, label, bucket)
                counts[key] = counts.get(key, 0.0) + value
            add(session, counts)
            return len(found) - len(counts)
