"""What a client sees of webhooks. Plain values: no session, no database."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Every try was in vain."""
    DISABLED = "disabled"
    """The receiver said 410: it is to be left alone."""


class DeliveryAttempt(BaseModel):
    """One try."""

    number: int
    at: datetime
    seconds: float
    status: int | None
    """None where no answer came."""
    error: str | None


class Delivery(BaseModel):
    """One message to one receiver."""

    id: str
    """The receiver's `webhook-id`: the same in every try."""
    job_id: str | None
    """None for a test."""
    event: str
    """The `type` in its body."""
    url: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    """When it is tried next, while it is pending."""
    last_status: int | None
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None
    log: list[DeliveryAttempt]
    """The newest tries, oldest first. Nothing of an answer but its status is kept."""


class DeliveryPage(BaseModel):
    data: list[Delivery]
    has_more: bool
    next: str | None


class EarlierSecret(BaseModel):
    """One that was rotated away, and still signs beside its successor."""

    fingerprint: str
    valid_until: datetime


class SecretInfo(BaseModel):
    """What a tenant's messages are signed with, without the secret itself."""

    fingerprint: str | None
    """The first 12 digits of the secret's SHA-256; None where there is no secret yet."""
    since: datetime | None
    previous: list[EarlierSecret]


class ShownSecret(SecretInfo):
    secret: str
    """`whsec_…`: what receivers check signatures with."""
