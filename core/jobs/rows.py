"""How a client's job is found. Whose it is belongs to every question."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import JobNotFound
from core.jobs.records import JobRecord


def find(session: Session, tenant: str, job_id: str, *, lock: bool = False) -> JobRecord:
    """The row, kept from others until the transaction's end with `lock`.

    Raises:
        JobNotFound: there is none, or it is another tenant's, or has been deleted.
    """
    query = select(JobRecord).where(
        JobRecord.id == job_id, JobRecord.tenant == tenant, JobRecord.deleted_at.is_(None)
    )
    record = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if record is None:
        raise JobNotFound(job_id)
    return record
