"""What those who wait for sweeps, and those who clean up after them, ask of the database."""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from core.jobs.database import Database
from core.jobs.reaping import BATCH
from core.jobs.records import JobRecord
from core.jobs.states import TERMINAL
from core.jobs.sweep_records import SweepRecord
from core.jobs.sweep_rows import children_of
from core.jobs.sweep_views import SweepCell

_IDS_A_QUERY = 100


@dataclass(frozen=True, slots=True)
class SweepStanding:
    """Whether a sweep's own objects are of use to anybody."""

    alive: bool
    """Some of its jobs have not ended, or have a result still."""


def signature_of(cells: Iterable[SweepCell]) -> int:
    """A number that is another one once a job of a sweep has moved, or was deleted."""
    return _signature((each.number, each.state.value) for each in cells if each.state is not None)


def _signature(states: Iterable[tuple[int, str]]) -> int:
    return zlib.crc32(repr(sorted(states)).encode())


class SweepKeepingSide:
    """Safe to be used by every process at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sweep_signatures(self, sweep_ids: Collection[str]) -> dict[str, int]:
        """What each sweep looks like now, of whatever tenant; deleted ones are left out."""
        ids, found = sorted(sweep_ids), dict[str, int]()
        with self._database.read() as session:
            for start in range(0, len(ids), _IDS_A_QUERY):
                some = ids[start : start + _IDS_A_QUERY]
                there = session.scalars(
                    select(SweepRecord.id).where(
                        SweepRecord.id.in_(some), SweepRecord.deleted_at.is_(None)
                    )
                ).all()
                children = children_of(session, there)
                for sweep_id in there:
                    states = ((c.cell, c.state.value) for c in children[sweep_id])
                    found[sweep_id] = _signature(states)
        return found

    def sweep_standings(
        self, sweep_ids: Collection[str], without: Collection[str] = ()
    ) -> dict[str, SweepStanding]:
        """How those of the sweeps stand that this database knows, as if the jobs `without` had no
        result any more."""
        ids, found = sorted(sweep_ids), dict[str, SweepStanding]()
        result = JobRecord.manifest_key.is_not(None) & JobRecord.id.not_in(without)
        useful = JobRecord.state.not_in(TERMINAL) | result
        with self._database.read() as session:
            for start in range(0, len(ids), _IDS_A_QUERY):
                some = ids[start : start + _IDS_A_QUERY]
                known = session.scalars(
                    select(SweepRecord.id).where(SweepRecord.id.in_(some))
                ).all()
                alive = session.scalars(
                    select(JobRecord.sweep_id)
                    .where(JobRecord.sweep_id.in_(known), useful)
                    .distinct()
                ).all()
                found |= {sweep_id: SweepStanding(sweep_id in alive) for sweep_id in known}
        return found

    def buried_sweeps(self) -> list[str]:
        """Sweeps, of whatever tenant, that clients have deleted and whose rows are still there."""
        statement = (
            select(SweepRecord.id)
            .where(SweepRecord.deleted_at.is_not(None))
            .order_by(SweepRecord.deleted_at)
            .limit(BATCH)
        )
        with self._database.read() as session:
            return list(session.scalars(statement))

    def erase_sweep(self, sweep_id: str) -> None:
        """Remove a buried sweep, whose own objects must all be gone. Its jobs go by themselves."""
        statement = delete(SweepRecord).where(
            SweepRecord.id == sweep_id, SweepRecord.deleted_at.is_not(None)
        )
        with self._database.write() as session:
            session.execute(statement)
