"""A job's move and the message about it: one transaction, so that no crash can lose the message."""

from datetime import datetime
from typing import Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.delivery_records import DeliveryRecord
from core.jobs.delivery_views import DeliveryState
from core.jobs.notices import JobEvent, job_message
from core.jobs.records import JobRecord
from core.jobs.states import State
from core.spec import Webhook
from core.webhooks.urls import parse_target

EVENTS: Final[dict[State, JobEvent]] = {
    State.RUNNING: "job.running",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELLED: "job.cancelled",
}


def put(session: Session, record: JobRecord, now: datetime) -> None:
    """Queue the message about the state `record` has just moved to, if its spec asks for one.

    The event of the move must have been written: the message's id is made of its number.
    """
    hook, event = _webhook_of(record), EVENTS.get(record.state)
    if hook is None or event is None or record.state.value not in hook.events:
        return
    session.add(
        DeliveryRecord(
            id=f"msg_{record.id.removeprefix('job_')}_{record.last_event}",
            job_id=record.id,
            tenant=record.tenant,
            number=record.last_event,
            event=event,
            url=hook.url,
            host=parse_target(hook.url).host,
            body=job_message(record, event, now),
            state=_first_state(session, record.id),
            next_at=now,
            claims=0,
            attempts=0,
            failures=0,
            created_at=now,
        )
    )


def _webhook_of(record: JobRecord) -> Webhook | None:
    given = record.spec.get("webhook")
    if given is None:
        return None
    try:
        return Webhook.model_validate(given)
    except ValidationError:
        # Another version accepted it. Its job moves on, and fails by the worker's own look at it.
        return None


def _first_state(session: Session, job_id: str) -> DeliveryState:
    """A receiver that has said 410 hears no more of the job."""
    gone = select(DeliveryRecord.id).where(
        DeliveryRecord.job_id == job_id, DeliveryRecord.state == DeliveryState.DISABLED
    )
    said = session.scalars(gone.limit(1)).first() is not None
    return DeliveryState.DISABLED if said else DeliveryState.PENDING
