"""What an API holds for webhooks: the deliveries, the secrets, and where messages may go."""

from dataclasses import dataclass

from core.jobs.deliveries import DeliveryStore
from core.jobs.webhook_secrets import SecretStore
from core.webhooks.allowed import Allowed
from core.webhooks.signing import Entropy


@dataclass(frozen=True, slots=True)
class Webhooks:
    deliveries: DeliveryStore
    secrets: SecretStore
    allowed: Allowed
    entropy: Entropy
