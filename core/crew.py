"""Waiting for many answers at once, and stopping at once when asked to."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Final, TypeVar

T = TypeVar("T")
Watch = Callable[[int, int], None]
"""Called with (done, of) now and then, in the thread that waits; may raise Cancelled."""

Tell = Callable[[int], bool]
"""Called by work with how much more is done; whether to go on."""

LOOK_SECONDS: Final = 0.2


def nobody(done: int, of: int) -> None:
    """A `Watch` for those who do not watch."""


def work_off(
    tasks: Iterable[T], work: Callable[[T, Tell], None], threads: int, tell: Callable[[int], None]
) -> None:
    """Call `work` with each task, several at a time, and `tell` with what they say is done.

    The first error, of `work` or of `tell`, ends it at once: what is still under way stops at its
    next word, in threads that hold up neither the caller nor the end of the process.
    """
    waiting, said, stop = deque(tasks), SimpleQueue[int | Exception | None](), Event()

    def go_on(more: int) -> bool:
        said.put(more)
        return not stop.is_set()

    def member() -> None:
        try:
            while not stop.is_set():
                try:
                    task = waiting.popleft()
                except IndexError:
                    break
                work(task, go_on)
        except Exception as error:  # noqa: BLE001 - raised again where somebody waits for it
            said.put(error)
        else:
            said.put(None)

    crew = [Thread(target=member, daemon=True) for _ in range(min(threads, len(waiting)))]
    for thread in crew:
        thread.start()
    try:
        _listen(said, len(crew), tell)
    finally:
        stop.set()


def _listen(
    said: "SimpleQueue[int | Exception | None]", at_work: int, tell: Callable[[int], None]
) -> None:
    more, told = 0, time.monotonic()
    while at_work:
        try:
            word = said.get(timeout=LOOK_SECONDS)
        except Empty:
            word = 0
        if isinstance(word, Exception):
            raise word
        if word is None:
            at_work -= 1
        else:
            more += word
        if time.monotonic() - told >= LOOK_SECONDS or not at_work:
            tell(more)
            more, told = 0, time.monotonic()
