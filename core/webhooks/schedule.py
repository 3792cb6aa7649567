"""When a message that was not taken is sent again. Pure: time and chance are arguments."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

RETRIES: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds before the second try, the third, and so on: three and a half days in all."""

LONGEST_ASKED: Final = timedelta(days=1)
"""A receiver that asks for more patience by Retry-After than this gets this much."""

_SPREAD: Final = 0.2  # so that what failed together does not come back together


def wait(retries: Sequence[float], failures: int, chance: Callable[[], float]) -> timedelta | None:
    """How long to wait after `failures` tries in vain; None when that was the last.

    `chance` gives numbers from 0 to 1. The wait is never shorter than the table says.
    """
    if failures > len(retries):
        return None
    return timedelta(seconds=retries[failures - 1] * (1 + _SPREAD * chance()))


def longest(retries: Sequence[float]) -> timedelta:
    """No message is ever due later than this from now, unless the clock has been set back."""
    return max(LONGEST_ASKED, timedelta(seconds=max(retries, default=0) * (1 + _SPREAD)))


def asked_for(header: str, now: datetime) -> timedelta | None:
    """What Retry-After asks for, within bounds; None where it cannot be read."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        # A number with more digits is beyond the bound already, and int() may give up on it.
        seconds = timedelta(seconds=int(text)) if len(text) < 8 else LONGEST_ASKED
        return min(seconds, LONGEST_ASKED)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta()), LONGEST_ASKED)
