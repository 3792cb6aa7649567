"""What a client asks about webhooks: deliveries, secrets, a test."""

from collections.abc import AsyncGenerator
from typing import Final

from core.errors import SecateurError
from core.jobs.delivery_views import Delivery, DeliveryPage, SecretInfo, ShownSecret
from core.webhooks.errors import DeliveryNotFound, RotatedTooOften, WebhookRefused
from secateur.calls import Asking, Call, job_path, of, segment

REFUSALS: Final[tuple[type[SecateurError], ...]] = (
    DeliveryNotFound,
    RotatedTooOften,
    WebhookRefused,
)
"""What the methods may raise beside what others do. A class is only found by its code once it is
imported."""


class WebhookCalls(Asking):
    """Part of both clients."""

    def deliveries(self, job_id: str) -> AsyncGenerator[Delivery, None]:
        """The webhook messages about the job, oldest first, page by page. Raises JobNotFound."""
        return self._paged(f"{job_path(job_id)}/deliveries", of(DeliveryPage), {"limit": 200})

    async def delivery(self, delivery_id: str) -> Delivery:
        """One message, also a test's. Raises DeliveryNotFound."""
        path = f"/v1/webhooks/deliveries/{segment(delivery_id)}"
        return await self._ask(Call("GET", path, of(Delivery)))

    async def redeliver(self, job_id: str, delivery_id: str) -> Delivery:
        """Have the message sent once more. Raises DeliveryNotFound."""
        path = f"{job_path(job_id)}/deliveries/{segment(delivery_id)}/redeliver"
        return await self._ask(Call("POST", path, of(Delivery)))

    async def test_webhook(self, url: str) -> Delivery:
        """Have a test message sent to `url`; `delivery` tells later how it went.

        Raises:
            WebhookRefused: the server sends nothing there.
        """
        call = Call("POST", "/v1/webhooks/test", of(Delivery), body={"url": url})
        return await self._ask(call)

    async def describe_webhook_secret(self) -> SecretInfo:
        """When the secret was made, and which earlier ones still sign."""
        return await self._ask(Call("GET", "/v1/webhooks/secret", of(SecretInfo)))

    async def webhook_secret(self) -> ShownSecret:
        """The tenant's secret, made now if there is none. The key needs jobs:write."""
        return await self._ask(Call("POST", "/v1/webhooks/secret", of(ShownSecret)))

    async def rotate_webhook_secret(self) -> ShownSecret:
        """A new secret; the one before signs beside it for 24 hours. Raises RotatedTooOften."""
        return await self._ask(Call("POST", "/v1/webhooks/secret/rotate", of(ShownSecret)))
