"""Where a job comes from: the request that made it. Kept in its first event, so it is never lost."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy.orm import Session

from core.jobs.records import EventRecord

# As W3C Trace Context has it; a later version may append more.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Both may be absent: a job need not come over HTTP, and few are traced."""

    request_id: str | None = None
    traceparent: str | None = None

    def data(self) -> dict[str, str]:
        """For an event's data."""
        told = {"request_id": self.request_id, "traceparent": self.traceparent}
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From the data of a job's first event."""
        traceparent = data.get("traceparent")
        return cls(data.get("request_id"), traceparent if trace_id_of(traceparent) else None)


UNKNOWN: Final = Origin()


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace that a `traceparent` header belongs to; None if it is no such header."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found[1] if found else None


def origin_of(session: Session, job_id: str) -> Origin:
    first = session.get(EventRecord, (job_id, 1))
    return Origin.of(first.data) if first else UNKNOWN
