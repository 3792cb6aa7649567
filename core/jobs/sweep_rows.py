"""How a client's sweep is found, and made of its row and its jobs'. Whose it is belongs to every question."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.records import JobRecord
from core.jobs.states import State
from core.jobs.sweep_records import SweepRecord
from core.jobs.sweep_views import Sweep, SweepCell, SweepCounts, state_of
from core.sweep_errors import SweepNotFound


@dataclass(frozen=True, slots=True)
class Child:
    """What a sweep has to know of one of its jobs."""

    id: str
    cell: int
    state: State
    finished_at: datetime | None


def find_sweep(session: Session, tenant: str, sweep_id: str, *, lock: bool = False) -> SweepRecord:
    """The row, kept from others until the transaction's end with `lock`.

    Raises:
        SweepNotFound: there is none, or it is another tenant's, or has been deleted.
    """
    query = select(SweepRecord).where(
        SweepRecord.id == sweep_id, SweepRecord.tenant == tenant, SweepRecord.deleted_at.is_(None)
    )
    record = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if record is None:
        raise SweepNotFound(sweep_id)
    return record


def children_of(session: Session, sweep_ids: Sequence[str]) -> dict[str, list[Child]]:
    """The jobs of each sweep that are still there, in their order."""
    statement = (
        select(
            JobRecord.sweep_id,
            JobRecord.id,
            JobRecord.sweep_cell,
            JobRecord.state,
            JobRecord.finished_at,
        )
        .where(JobRecord.sweep_id.in_(sweep_ids), JobRecord.deleted_at.is_(None))
        .order_by(JobRecord.sweep_id, JobRecord.sweep_cell)
    )
    found: dict[str, list[Child]] = {sweep_id: [] for sweep_id in sweep_ids}
    for sweep_id, job_id, cell, state, finished in session.execute(statement).all():
        found[sweep_id or ""].append(Child(job_id, cell or 0, state, finished))
    return found


def view(record: SweepRecord, children: Sequence[Child], *, whole: bool) -> Sweep:
    """The sweep as a client sees it; lists do not show it `whole`."""
    counts = Counter(child.state for child in children)
    state = state_of(counts)
    ends = [child.finished_at for child in children if child.finished_at is not None]
    over = state not in ("running", "empty")
    return Sweep(
        id=record.id,
        name=record.name,
        state=state,
        children=len(record.cells),
        counts=SweepCounts(
            **{each.value: counts[each] for each in State},
            deleted=len(record.cells) - len(children),
        ),
        created_at=record.created_at,
        finished_at=max(ends, default=None) if over else None,
        metadata=record.labels,
        spec=record.spec,
        cells=_cells(record, {child.cell: child for child in children}) if whole else None,
    )


def _cells(record: SweepRecord, children: Mapping[int, Child]) -> list[SweepCell]:
    found = []
    for number, values in enumerate(record.cells, 1):
        child = children.get(number)
        found.append(
            SweepCell(
                number=number,
                values=values,
                job=child.id if child else None,
                state=child.state if child else None,
            )
        )
    return found
