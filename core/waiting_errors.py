"""Why a request may not wait at a server for news. Both pass by themselves.

SecateurError
├── TooManyWaiting       of this tenant
└── NoPlaceToWait        of everybody
"""

from core.errors import SecateurError


class TooManyWaiting(SecateurError):
    code = "too-many-waiting"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} requests of yours are waiting at this server already.",
            remedy="Close an event stream or a long poll, or poll without `wait`.",
        )


class NoPlaceToWait(SecateurError):
    code = "no-place-to-wait"

    def __init__(self) -> None:
        super().__init__(
            "as many requests as this server allows are waiting at it already.",
            remedy="Come back in a moment, or poll without `wait`.",
        )
