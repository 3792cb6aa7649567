"""How often somebody may ask: requests counted by the minute, in Redis for all processes together.

Redis is the broker's. While it does not answer, each process counts for itself: nobody is refused
because of it, or waits for it, and a flood still has an end.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from limits.storage import MemoryStorage, RedisStorage
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

WINDOW: Final = 60
_SECONDS: Final = 0.1  # Redis answers in less than one; longer than this nobody waits
_PAUSE: Final = 5.0  # until one that did not answer is asked again


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a counter stands after a request was counted."""

    limit: int
    used: int
    """This request included."""
    reset: int
    """Seconds until the minute is over and counting begins anew."""

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def over(self) -> bool:
        return self.used > self.limit


class Pace:
    """Counters that begin anew with every minute of the clock. Safe to share between threads."""

    def __init__(
        self,
        redis_url: str,
        clock: Callable[[], datetime],
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._tick = clock, tick
        self._shared, self._own = _shared(redis_url), MemoryStorage()
        self._away, self._ask_again = False, float("-inf")

    def count(self, what: str, limit: int) -> Standing:
        """Count one more of `what`."""
        minute, second = divmod(int(self._clock().timestamp()), WINDOW)
        # Each minute has a key of its own, so one round trip tells all there is to know.
        used = self._increased(f"{what}:{minute}")
        return Standing(limit, used, WINDOW - second)

    def _increased(self, key: str) -> int:
        if self._shared is not None and self._tick() >= self._ask_again:
            try:
                used = self._shared.incr(key, WINDOW)
            except RedisError as error:
                self._ask_again = self._tick() + _PAUSE
                self._tell(away=True, why=str(error))
            else:
                self._tell(away=False)
                return used
        return self._own.incr(key, WINDOW)

    def _tell(self, *, away: bool, why: str = "") -> None:
        """One line when Redis goes, and one when it is back, however many requests come between."""
        if away and not self._away:
            logger.warning(
                "rates are counted in this process alone: Redis does not answer: %s", why
            )
        elif self._away and not away:
            logger.info("rates are counted in Redis again")
        self._away = away


def _shared(url: str) -> RedisStorage | None:
    """Counters in Redis, which is not asked yet; None where `url` is no address of it."""
    try:
        return RedisStorage(
            url,
            key_prefix="secateur-rate",
            socket_connect_timeout=_SECONDS,
            socket_timeout=_SECONDS,
            retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # handed on to redis as it is
        )
    except ValueError:
        return None
