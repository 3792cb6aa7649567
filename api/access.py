"""Whether keys are demanded, and who a key belongs to. Knows no HTTP."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.errors import StoreUnavailable
from core.jobs.credentials import ApiKey, Scope, check_usable, digest
from core.jobs.keys import USE_NOTED_EVERY, KeyStore
from core.key_errors import KeyMissing, ScopeMissing

logger = logging.getLogger(__name__)

# How long a revoked key may still pass in a process that has just seen it.
REMEMBERED: Final = timedelta(seconds=5)
_MOST_REMEMBERED: Final = 1024
_EVERYBODY: Final = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. Without a key: whoever is on this machine, while there are no keys."""

    tenant: str
    key: ApiKey | None

    def require(self, scope: Scope) -> None:
        """Raise ScopeMissing unless the caller may do what `scope` names."""
        if self.key is not None and not self.key.opens(scope):
            raise ScopeMissing(scope)


class Access:
    """Asks the key store, at most once a request and seldom for a key that was just there.

    With `always`, keys are demanded even while the table is empty: nothing that happens to a
    database opens a server that other machines can reach. Safe to share between threads.
    """

    def __init__(
        self, keys: KeyStore, clock: Callable[[], datetime], *, always: bool = False
    ) -> None:
        self._keys, self._clock, self._demanded = keys, clock, always
        self._seen: dict[str, tuple[ApiKey, datetime]] = {}

    def demanded(self) -> bool:
        """Whether there has ever been a key. Once there was, the answer stays."""
        if not self._demanded:
            self._demanded = self._keys.ever_had_any()
        return self._demanded

    def caller(self, text: str | None) -> Caller:
        """Who presents the key `text`, or None.

        Raises:
            KeyMissing, KeyUnknown, KeyExpired, KeyRevoked; StoreUnavailable.
        """
        if not self.demanded():
            return Caller(_EVERYBODY, None)
        if text is None:
            raise KeyMissing
        return self.known(text) or self._looked_up(text, self._clock())

    def known(self, text: str | None) -> Caller | None:
        """The same where it needs no look into the database; None where it does."""
        if text is None or not self._demanded:
            return None
        now = self._clock()
        key = self._remembered(text, now)
        if key is None:
            return None
        check_usable(key, now)
        return Caller(key.tenant, key)

    def _remembered(self, text: str, now: datetime) -> ApiKey | None:
        # Under its digest, so that no key lies around in memory.
        key, seen_at = self._seen.get(digest(text), (None, now))
        return key if timedelta() <= now - seen_at < REMEMBERED else None

    def _looked_up(self, text: str, now: datetime) -> Caller:
        key = self._keys.find(text)
        check_usable(key, now)
        if key.last_used_at is None or now - key.last_used_at >= USE_NOTED_EVERY:
            key = self._noted(key, now)
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen[digest(text)] = key, now
        return Caller(key.tenant, key)

    def _noted(self, key: ApiKey, now: datetime) -> ApiKey:
        try:
            self._keys.note_use(key.id, now)
        except StoreUnavailable as error:
            # A request that only reads is not refused because the database takes no writes.
            logger.warning("%s: its use could not be noted (%s)", key.id, error)
            return key
        return key.model_copy(update={"last_used_at": now})
