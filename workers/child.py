"""The supervisor's hold on a runner: its lines, its last words, its end."""

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, cast

from pydantic import ValidationError

from core.processes import environment, python
from core.telemetry import relayed
from workers.environment import open_to_a_run, secrets_of
from workers.memory import Held, held_by
from workers.protocol import LINE, Request, Said, written

_KEPT_LINES = 40
_CHUNK = 1 << 16
_LOOK_SECONDS = 0.05


class Child:
    """A running `workers.runner` in a session of its own, so that all it starts can be killed."""

    def __init__(self, request: Request, variables: Iterable[str] = ()) -> None:
        """`variables` names what the runner gets of this process's environment beside the usual."""
        self._process = subprocess.Popen(  # its pipes live until `close`
            python("workers.runner"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment(open_to_a_run(os.environ, variables)),
        )
        self._open = selectors.DefaultSelector()
        self._rest: dict[IO[bytes], bytes] = {}
        self.last_words: deque[str] = deque(maxlen=_KEPT_LINES)
        self.was_killed = False
        """Whether we sent SIGKILL while it lived."""
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        for pipe in (self._process.stdout, self._process.stderr):
            os.set_blocking(pipe.fileno(), False)
            self._open.register(pipe, selectors.EVENT_READ)
            self._rest[pipe] = b""
        with suppress(BrokenPipeError):  # it died at once: its exit status tells
            self._process.stdin.write(written(request, secrets_of(os.environ)))
            self._process.stdin.close()

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the runner lives."""
        return self._process.poll()

    def read(self, timeout: float) -> list[Said]:
        """What the runner says within `timeout` seconds; comes back early when it says something."""
        if not self._open.get_map():  # it closed both pipes: its end is near
            time.sleep(min(timeout, _LOOK_SECONDS))
            return []
        return self._take(self._open.select(timeout))

    def drain(self) -> list[Said]:
        """What is left to read after the runner's end, without waiting."""
        found: list[Said] = []
        while self._open.get_map() and (ready := self._open.select(0)):
            found += self._take(ready)
        return found

    def terminate(self) -> None:
        """Ask the runner to stop."""
        self._signal(signal.SIGTERM)

    def held(self) -> Held | None:
        """The most memory it has held up to now; None where that cannot be known."""
        return held_by(self._process.pid) if self.status is None else None

    def kill(self) -> None:
        """End the runner and everything it started."""
        self.was_killed = self.was_killed or self.status is None
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing behind: no process, no pipe."""
        self.kill()
        self._process.wait()
        self._open.close()
        for pipe in self._rest:
            pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        # The group outlives its leader when the leader started others.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _take(self, ready: list[tuple[selectors.SelectorKey, int]]) -> list[Said]:
        found: list[Said] = []
        for key, _ in ready:
            pipe = cast("IO[bytes]", key.fileobj)
            for line in self._lines(pipe):
                if pipe is self._process.stdout:
                    with suppress(ValidationError):  # half a line of a runner that was killed
                        found.append(LINE.validate_json(line))
                else:
                    sent = relayed.receive(line)
                    relayed.log(sent, "runner")
                    self.last_words.extend(sent.lines())
        return found

    def _lines(self, pipe: IO[bytes]) -> list[bytes]:
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return []
        if not data:
            self._open.unregister(pipe)
            return [self._rest[pipe]] if self._rest[pipe] else []
        *lines, self._rest[pipe] = (self._rest[pipe] + data).split(b"\n")
        return lines
