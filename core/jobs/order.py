"""Which job runs next: fair between tenants, by priority and age within one.

A worker that becomes free takes the first job of the tenant that has the fewest running. Of several
with as few, the one goes first that was served longest ago. So every tenant that waits gets its next
job after at most one of each other tenant, however many those have queued and whatever priority they
gave them: `priority` orders the jobs of one tenant and says nothing to others.

Beyond the first place the order is that of the claims which would follow if none of the running jobs
ended: several workers that look at the same moment go down the same list.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.orm import Session

from core.jobs.records import JobRecord, TurnRecord
from core.jobs.states import OWNED, State


def next_to_run(
    limit: int, since: datetime | None = None, busy: Collection[str] = ()
) -> Select[tuple[str]]:
    """Ids of queued jobs, the next to run first; with `since`, those that wait since then or longer.

    `busy` tenants, which may start nothing at the moment, are left out.
    """
    waiting = _waiting(since, busy).cte("waiting")
    running = _running().cte("running")
    runs = func.coalesce(running.c.runs, 0)
    turn = func.coalesce(TurnRecord.turn, 0)
    return (
        select(waiting.c.id)
        .outerjoin(running, running.c.tenant == waiting.c.tenant)
        .outerjoin(TurnRecord, TurnRecord.tenant == waiting.c.tenant)
        # As many of one tenant come before it: no later one can be among the first `limit`.
        .where(waiting.c.place <= limit)
        .order_by(runs + waiting.c.place, turn, waiting.c.created_at, waiting.c.id)
        .limit(limit)
    )


def _waiting(since: datetime | None, busy: Collection[str]) -> Select[Any]:
    """Queued jobs with their places among those of their tenant. The index has them in this order."""
    place = func.row_number().over(
        partition_by=JobRecord.tenant,
        order_by=(JobRecord.priority.desc(), JobRecord.created_at, JobRecord.id),
    )
    found = select(
        JobRecord.id, JobRecord.tenant, JobRecord.created_at, place.label("place")
    ).where(JobRecord.state == State.QUEUED)
    if busy:
        found = found.where(JobRecord.tenant.not_in(busy))
    return found if since is None else found.where(JobRecord.queued_at <= since)


def _running() -> Select[Any]:
    """How many jobs of each tenant run; counted by state first, which the index has in this order.

    Grouped by tenant alone, SQLite reads all jobs there ever were, sorted by tenant as they are.
    """
    by_state = (
        select(JobRecord.tenant, func.count().label("runs"))
        .where(JobRecord.state.in_(OWNED))
        .group_by(JobRecord.state, JobRecord.tenant)
        .subquery()
    )
    return select(by_state.c.tenant, func.sum(by_state.c.runs).label("runs")).group_by(
        by_state.c.tenant
    )


def served(session: Session, tenant: str) -> None:
    """Note that one of the tenant's jobs has been claimed: the others come first now.

    Turns are numbers and not times, since clocks are set. A turn that another claim of the same
    tenant is noting at this moment is not waited for: it is the same.
    """
    session.execute(
        text("INSERT INTO turns (tenant, turn) VALUES (:tenant, 0) ON CONFLICT DO NOTHING"),
        {"tenant": tenant},
    )
    free = select(TurnRecord.tenant).where(TurnRecord.tenant == tenant)
    last = select(func.max(TurnRecord.turn)).scalar_subquery()
    session.execute(
        update(TurnRecord)
        .where(TurnRecord.tenant == free.with_for_update(skip_locked=True).scalar_subquery())
        .values(turn=last + 1)
        .execution_options(synchronize_session=False)
    )
