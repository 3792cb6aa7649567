"""Keeps a fork from happening while other threads are in the middle of something."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ForkGate:
    """Many threads may be inside at once; a fork waits until none is, and none enters meanwhile.

    A child that was forked in between would have locks of SQLite, OpenSSL and the resolver that
    nobody in it will ever release. Celery's main process forks when a supervisor has died.
    """

    def __init__(self) -> None:
        # No RLock: the child's only thread releases what the parent's has acquired.
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._forking = False

    def register(self) -> None:
        """Mind all forks of this process from now on."""
        os.register_at_fork(
            before=self.close, after_in_parent=self.reopen, after_in_child=self.reopen
        )

    @contextmanager
    def inside(self) -> Iterator[None]:
        """No fork happens within; waits for one that is about to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until nobody is inside, and keep everybody out. Returns holding the lock."""
        self._changed.acquire()
        self._forking = True
        self._changed.wait_for(lambda: self._inside == 0)

    def reopen(self) -> None:
        self._forking = False
        self._changed.notify_all()
        self._changed.release()
