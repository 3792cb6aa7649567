"""What can be wrong with a webhook.

BadRequest
└── WebhookRefused       an address that this server tells nothing to
NotFound
└── DeliveryNotFound
Conflict
└── RotatedTooOften      more secrets would be valid at once than a receiver may be sent
"""

from datetime import datetime

from core.errors import BadRequest, Conflict, NotFound


class WebhookRefused(BadRequest):
    code = "webhook-refused"


class DeliveryNotFound(NotFound):
    code = "delivery-not-found"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"no delivery {delivery_id!r}.",
            remedy="List a job's with GET /v1/jobs/{job_id}/deliveries.",
        )


class RotatedTooOften(Conflict):
    code = "rotated-too-often"

    def __init__(self, valid: int, until: datetime) -> None:
        super().__init__(
            f"{valid} secrets are valid already, the oldest until {until:%Y-%m-%d %H:%M} UTC.",
            remedy="Wait until one has ended: every message is signed with all of them.",
        )
