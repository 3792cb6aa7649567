"""What is wrong with an Idempotency-Key.

BadRequest
└── IdempotencyKeyReused     the key belongs to another request
Conflict
└── IdempotencyKeyInFlight   the first request with the key is not answered yet
"""

from core.errors import BadRequest, Conflict


class IdempotencyKeyReused(BadRequest):
    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__(
            "the Idempotency-Key was sent before, with another body.",
            remedy="Send each request that is a new one under a new key.",
        )


class IdempotencyKeyInFlight(Conflict):
    code = "idempotency-key-in-flight"

    def __init__(self) -> None:
        super().__init__(
            "a request with this Idempotency-Key is being carried out.",
            remedy="Send it again in a second: the answer will be the first one's.",
        )
