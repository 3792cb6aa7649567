"""How often somebody may ask: requests counted by the minute, in Redis for all processes together.

Redis is the broker's. While it does not answer, each process counts for itself: nobody is refused
because of it, or waits for it, and a flood still has an end.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

WINDOW: Final = 60
_SECONDS: Final = 0.1  # Redis answers in less than one; longer than this nobody waits
_STEPS: Final = 1000  # in which Redis hears of a full limit
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


@dataclass(slots=True)
class _Tally:
    """What this process knows of one counter."""

    known: int = 0
    """Counted so far, by all processes, when Redis was last told."""
    untold: int = 0
    """Counted here since then."""


class Pace:
    """Counters that begin anew with every minute of the clock. Safe to share between threads.

    Redis is told of a thousandth of the limit at a time, so it costs small limits a round trip a
    request and is exact for them, and large ones next to nothing; they may be passed by as much.
    """

    def __init__(
        self,
        redis_url: str,
        clock: Callable[[], datetime],
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._tick = clock, tick
        self._shared = _shared(redis_url)
        self._away, self._ask_again = False, float("-inf")
        self._lock, self._minute = threading.Lock(), 0
        self._tallies: dict[str, _Tally] = {}

    def count(self, what: str, limit: int) -> Standing:
        """Count one more of `what`. May wait for Redis."""
        standing, tell = self.count_here(what, limit)
        return tell() if tell else standing

    def count_here(self, what: str, limit: int) -> tuple[Standing, Callable[[], Standing] | None]:
        """Count one more of `what` without waiting for anything.

        Where Redis is to hear of it, what tells it, and knows better, comes along to be called.
        """
        minute, second = divmod(int(self._clock().timestamp()), WINDOW)
        with self._lock:
            if minute != self._minute:
                self._minute, self._tallies = minute, {}
            tally = self._tallies.setdefault(what, _Tally())
            tally.untold += 1
            news = tally.untold if tally.untold >= limit // _STEPS else 0
            tally.untold -= news
            tally.known += news
            used = tally.known + tally.untold
        standing = Standing(limit, used, WINDOW - second)
        if not news:
            return standing, None

        def tell() -> Standing:
            # Each minute has a key of its own, so one round trip tells all there is to know.
            total = self._told(f"{what}:{minute}", news)
            with self._lock:
                tally.known = max(tally.known, total)
            return replace(standing, used=max(standing.used, total))

        return standing, tell

    def _told(self, key: str, news: int) -> int:
        """What all processes have counted; 0 where Redis does not say."""
        if self._shared is None or self._tick() < self._ask_again:
            return 0
        try:
            total = self._shared.incr(key, 2 * WINDOW, amount=news)
        except RedisError as error:
            self._ask_again = self._tick() + _PAUSE
            self._tell(away=True, why=str(error))
            return 0
        self._tell(away=False)
        return total

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
