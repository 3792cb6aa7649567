"""Jobs as clients read them: one with its runs, or a list off an index whatever it is filtered by."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row, Select, and_, bindparam, or_, select

from core.errors import JobNotFound
from core.jobs import attempts, labels
from core.jobs.clients import view
from core.jobs.cursors import cursor_of, place_of
from core.jobs.database import Database
from core.jobs.labels import LabelRecord
from core.jobs.records import AttemptRecord, Base, JobRecord
from core.jobs.states import State
from core.jobs.views import Attempt, Job, JobPage

# Columns of tables, not attributes of records: made into rows, and compared when a statement is found in
# SQLAlchemy's cache, they take a third of the time.
_TABLES: Final = Base.metadata.tables
_JOBS: Final = _TABLES[JobRecord.__tablename__].c
_LABELS: Final = _TABLES[LabelRecord.__tablename__].c
_SHOWN: Final = [
    *(_JOBS[name] for name in Job.model_fields if name not in ("attempts", "metadata")),
    _JOBS.labels,
]
_RUNS: Final = _TABLES[AttemptRecord.__tablename__].c
# In one statement, which sees one state: a job that runs has exactly one run that is open.
_ONE: Final = (
    select(*_SHOWN, *(_RUNS[name].label(f"run_{name}") for name in Attempt.model_fields))
    .select_from(
        _TABLES[JobRecord.__tablename__].outerjoin(
            _TABLES[AttemptRecord.__tablename__], _RUNS.job_id == _JOBS.id
        )
    )
    .where(
        _JOBS.id == bindparam("job_id"),
        _JOBS.tenant == bindparam("tenant"),
        _JOBS.deleted_at.is_(None),
    )
    .order_by(_RUNS.epoch.desc())
    .limit(attempts.SHOWN)
)
_FILTERS: Final = {
    "state": _JOBS.state,
    "method": _JOBS.method,
    "model": _JOBS.model,
    "sweep": _JOBS.sweep_id,
}


class ReadSide:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant: str, job_id: str) -> Job:
        """One job, with its newest runs, oldest first.

        Raises:
            JobNotFound: also for another tenant's.
            StoreUnavailable: the database does not answer.
        """
        rows = self._database.ask(_ONE, {"tenant": tenant, "job_id": job_id})
        if not rows:
            raise JobNotFound(job_id)
        return view(
            rows[0], tuple(_run(row) for row in reversed(rows) if row.run_epoch is not None)
        )

    def list(
        self,
        tenant: str,
        *,
        state: State | None = None,
        method: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        sweep: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> JobPage:
        """Jobs that match all that is given, newest first.

        Raises:
            InvalidSpec: `after` is not a cursor from an earlier page.
            StoreUnavailable: the database does not answer.
        """
        wanted = {"state": state, "method": method, "model": model, "sweep": sweep}
        query = _newest_first(tenant, metadata or {}, after).where(
            *(_FILTERS[name] == value for name, value in wanted.items() if value is not None)
        )
        found = self._database.ask(query.limit(limit + 1))
        data, more = [view(row) for row in found[:limit]], len(found) > limit
        return JobPage(
            data=data,
            has_more=more,
            next=cursor_of(data[-1].created_at, data[-1].id) if more else None,
        )


def _run(row: Row[*tuple[Any, ...]]) -> Attempt:
    return Attempt.model_validate(
        {name: getattr(row, f"run_{name}") for name in Attempt.model_fields}
    )


def _newest_first(
    tenant: str, metadata: Mapping[str, str], after: str | None
) -> Select[*tuple[Any, ...]]:
    """A tenant's jobs with all of `metadata`, of which the first entry is what the index is read by."""
    query = select(*_SHOWN).where(_JOBS.tenant == tenant, _JOBS.deleted_at.is_(None))
    moment, job_id = _JOBS.created_at, _JOBS.id
    if metadata:
        (key, value), *others = metadata.items()
        moment, job_id = _LABELS.created_at, _LABELS.job_id
        query = query.where(
            _LABELS.job_id == _JOBS.id,
            _LABELS.tenant == tenant,
            _LABELS.key == key,
            _LABELS.value == value,
            *(labels.has(*other) for other in others),
        )
    if after is not None:
        created, last = place_of(after)
        query = query.where(or_(moment < created, and_(moment == created, job_id < last)))
    return query.order_by(moment.desc(), job_id.desc())
