"""One delivery from its claim to its report: signed, sent once, and due again if that was in vain."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from core.jobs.delivery_views import DeliveryState
from core.jobs.outgoing import Due, Outcome, Parcel, SenderSide
from core.jobs.webhook_secrets import SecretStore
from core.webhooks import schedule
from core.webhooks.sending import Answer, Sender
from core.webhooks.signing import Entropy, signed_headers

logger = logging.getLogger(__name__)

_GONE: Final = 410
_LATER: Final = (429, 503)
# Beside the time to answer there is the resolver's, which knows no deadline. A lease that ends
# too early costs a second delivery under the same id.
_LEASE: Final = 4


@dataclass(frozen=True, slots=True)
class Courier:
    """Safe to share between threads; several, in several processes, do not disturb each other."""

    deliveries: SenderSide
    secrets: SecretStore
    sender: Sender
    retries: Sequence[float]
    """Seconds before the second try, the third, and so on."""
    clock: Callable[[], datetime]
    chance: Callable[[], float]
    """From 0 to 1, for the jitter."""
    entropy: Entropy

    def due(self, *, limit: int) -> list[Due]:
        """What could be delivered now, in the order in which it should be."""
        return self.deliveries.due(self.clock(), schedule.longest(self.retries), limit=limit)

    def deliver(self, delivery_id: str) -> bool:
        """Try once; False if there was nothing to do, since another courier has it.

        Whatever dies between the receiver's answer and the report, the same message is delivered
        again when the lease is over. Raises StoreUnavailable.
        """
        lease = timedelta(seconds=_LEASE * self.sender.seconds)
        longest = schedule.longest(self.retries)
        parcel = self.deliveries.claim(delivery_id, self.clock(), longest, lease)
        if parcel is None:
            return False
        now, began = self.clock(), monotonic()
        secrets = self.secrets.signing(parcel.tenant, now, self.entropy)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Secateur",
            **signed_headers(parcel.id, parcel.body, secrets, now),
        }
        answer = self.sender.post(parcel.url, parcel.body.encode(), headers)
        state, wait = verdict(parcel, answer, self.retries, now, self.chance)
        outcome = Outcome(
            state=state,
            next_at=self.clock() + wait,
            attempted_at=now,
            seconds=round(monotonic() - began, 3),
            status=answer.status,
            error=answer.error,
        )
        self.deliveries.report(parcel, outcome)
        logger.info("%s: %s", parcel.id, answer.error or f"delivered, {answer.status}")
        return True


def verdict(
    parcel: Parcel,
    answer: Answer,
    retries: Sequence[float],
    now: datetime,
    chance: Callable[[], float],
) -> tuple[DeliveryState, timedelta]:
    """What the answer makes of the delivery, and how long to wait if it stays pending."""
    none = timedelta()
    if answer.taken:
        return DeliveryState.DELIVERED, none
    if answer.status == _GONE:
        return DeliveryState.DISABLED, none
    wait = schedule.wait(retries, parcel.failures + 1, chance)
    # A test is for somebody who looks on: a second one is theirs to ask for.
    if wait is None or parcel.is_test:
        return DeliveryState.FAILED, none
    if answer.status in _LATER and answer.retry_after is not None:
        wait = max(wait, schedule.asked_for(answer.retry_after, now) or none)
    return DeliveryState.PENDING, wait
