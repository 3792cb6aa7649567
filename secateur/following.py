"""What following a job over a line that breaks takes: the format of its events, and patience."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from core.errors import SecateurError, StoreUnavailable
from core.idempotency_errors import IdempotencyKeyInFlight
from core.limit_errors import RateLimited
from core.waiting_errors import NoPlaceToWait, TooManyWaiting
from secateur.problems import Unreachable

PATIENCE: Final = 30.0
"""Seconds for which a server that was there before may be away."""
PAUSE: Final = 0.5
PASSING: Final = (
    Unreachable,
    StoreUnavailable,
    TooManyWaiting,
    NoPlaceToWait,
    IdempotencyKeyInFlight,
)
"""What may be otherwise in a moment, so that the same request is worth another try."""
WAITING: Final = (*PASSING, RateLimited)
"""The same for who waits anyway, and can do so until the server wants to be asked again."""


@dataclass(slots=True)
class Patience:
    """With one server, over the requests of one call."""

    clock: Callable[[], float] = time.monotonic
    met: bool = False
    since: float | None = None

    def answered(self) -> None:
        """All is well again."""
        self.met, self.since = True, None

    def bear(self, error: SecateurError) -> float:
        """Seconds to pause before another try. Raises `error` once it has lasted too long.

        And at once where nobody was ever there: that is a wrong address.
        """
        if isinstance(error, RateLimited):
            self.answered()
            return error.retry_after
        now = self.clock()
        self.since = now if self.since is None else self.since
        if (type(error) is Unreachable and not self.met) or now - self.since > PATIENCE:
            raise error
        self.met = True
        return PAUSE


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    event: str
    data: str


@dataclass(slots=True)
class Parser:
    """Server-sent events from lines without their ends; `id` and `retry` are in the data or ours."""

    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, line: str) -> Message | None:
        """The event that `line`, an empty one, completes."""
        if not line:
            done, data = self._event or "message", self._data
            self._event, self._data = "", []
            return Message(done, "\n".join(data)) if data else None
        name, _, value = line.partition(":")  # a comment has no name
        if name == "event":
            self._event = value.removeprefix(" ")
        elif name == "data":
            self._data.append(value.removeprefix(" "))
        return None
