"""Whether a worker has gone deaf: it is idle, messages wait, and it takes none."""

from typing import Final

DEAF_SECONDS: Final = 45.0
"""A pool that has lost its process, or a reconnect with backoff, takes several seconds to hear again."""
_DEAF_SCANS: Final = 4
"""Whoever was stopped for an hour has looked once, and may hear again at once."""


class Hearing:
    """Told at every scan what was found; it remembers since when nothing was heard."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._scans = 0

    def lost(self, *, idle: bool, waiting: int | None, now: float) -> bool:
        """True once messages have waited for an idle worker at `DEAF_SECONDS` of scans in a row.

        Args:
            waiting: Messages that nobody has taken; None where the broker does not answer.
            now: Seconds on a clock that only grows.
        """
        if not (idle and waiting):
            self._since, self._scans = None, 0
            return False
        if self._since is None:
            self._since = now
        self._scans += 1
        return self._scans >= _DEAF_SCANS and now - self._since >= DEAF_SECONDS
