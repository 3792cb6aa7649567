"""Being interrupted without leaving anything behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise KeyboardInterrupt as SIGINT does, so `finally` runs."""
    previous = {each: signal.signal(each, signal.default_int_handler) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that arrive within are raised at its end: nothing in here is cut in half."""
    arrived: list[int] = []
    previous = {
        each: signal.signal(each, lambda number, _: arrived.append(number)) for each in SIGNALS
    }
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    if arrived:
        raise KeyboardInterrupt
