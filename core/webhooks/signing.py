"""Signatures as Standard Webhooks has them: https://www.standardwebhooks.com."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook as Signer

PREFIX: Final = "whsec_"
_BYTES: Final = 32  # the standard wants 24 to 64

Entropy = Callable[[int], bytes]
"""So many random bytes, fit for secrets; `secrets.token_bytes`, except in tests."""


def new_secret(entropy: Entropy) -> str:
    """A secret that has never been before."""
    return PREFIX + base64.b64encode(entropy(_BYTES)).decode()


def fingerprint(secret: str) -> str:
    """Tells secrets apart for people, and is no help in finding one out."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def signed_headers(
    message_id: str, body: str, secrets: Iterable[str], now: datetime
) -> dict[str, str]:
    """The three headers of one sending, with a signature by each of the secrets."""
    signatures = (Signer(secret).sign(message_id, now, body) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
