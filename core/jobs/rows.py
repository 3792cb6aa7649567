"""How a client's job is found. Whose it is belongs to every question."""

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from core.errors import JobNotFound
from core.jobs.records import JobRecord


def is_theirs(tenant: str, job_id: str) -> ColumnElement[bool]:
    """The row of a client's job, as long as it has not been deleted."""
    return and_(JobRecord.id == job_id, JobRecord.tenant == tenant, JobRecord.deleted_at.is_(None))


def find(session: Session, tenant: str, job_id: str, *, lock: bool = False) -> JobRecord:
    """The row, kept from others until the transaction's end with `lock`.

    Raises:
        JobNotFound: there is none, or it is another tenant's, or has been deleted.
    """
    query = select(JobRecord).where(is_theirs(tenant, job_id))
    record = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if record is None:
        raise JobNotFound(job_id)
    return record
