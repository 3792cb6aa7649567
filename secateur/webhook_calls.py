"""What a client asks about webhooks: deliveries, secrets, a test. Part of `secateur.client`."""

from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from core.errors import SecateurError
from core.jobs.delivery_views import Delivery, DeliveryPage, SecretInfo, ShownSecret
from core.webhooks.errors import DeliveryNotFound, RotatedTooOften, WebhookRefused

REFUSALS: Final[tuple[type[SecateurError], ...]] = (
    DeliveryNotFound,
    RotatedTooOften,
    WebhookRefused,
)
"""What the methods may raise beside what others do. A class is only found by its code once it is
imported."""

_Answer = TypeVar("_Answer", bound=BaseModel)


class _Speaks(Protocol):
    def _send(self, method: str, path: str, **options: Any) -> httpx.Response: ...

    @staticmethod
    def _parsed(kind: type[_Answer], response: httpx.Response) -> _Answer: ...


class WebhookCalls:
    """Mixed into the client, which does the sending."""

    def deliveries(self: _Speaks, job_id: str) -> Iterator[Delivery]:
        """The webhook messages about the job, oldest first, page by page. Raises JobNotFound."""
        query: dict[str, Any] = {"limit": 200}
        while True:
            path = f"/v1/jobs/{quote(job_id, safe='')}/deliveries"
            page = self._parsed(DeliveryPage, self._send("GET", path, params=query))
            yield from page.data
            if page.next is None:
                return
            query["after"] = page.next

    def delivery(self: _Speaks, delivery_id: str) -> Delivery:
        """One message, also a test's. Raises DeliveryNotFound."""
        path = f"/v1/webhooks/deliveries/{quote(delivery_id, safe='')}"
        return self._parsed(Delivery, self._send("GET", path))

    def redeliver(self: _Speaks, job_id: str, delivery_id: str) -> Delivery:
        """Have the message sent once more. Raises DeliveryNotFound."""
        place = f"/v1/jobs/{quote(job_id, safe='')}/deliveries/{quote(delivery_id, safe='')}"
        return self._parsed(Delivery, self._send("POST", f"{place}/redeliver"))

    def test_webhook(self: _Speaks, url: str) -> Delivery:
        """Have a test message sent to `url`; `delivery` tells later how it went.

        Raises:
            WebhookRefused: the server sends nothing there.
        """
        return self._parsed(Delivery, self._send("POST", "/v1/webhooks/test", json={"url": url}))

    def describe_webhook_secret(self: _Speaks) -> SecretInfo:
        """When the secret was made, and which earlier ones still sign."""
        return self._parsed(SecretInfo, self._send("GET", "/v1/webhooks/secret"))

    def webhook_secret(self: _Speaks) -> ShownSecret:
        """The tenant's secret, made now if there is none. The key needs jobs:write."""
        return self._parsed(ShownSecret, self._send("POST", "/v1/webhooks/secret"))

    def rotate_webhook_secret(self: _Speaks) -> ShownSecret:
        """A new secret; the one before signs beside it for 24 hours. Raises RotatedTooOften."""
        return self._parsed(ShownSecret, self._send("POST", "/v1/webhooks/secret/rotate"))
