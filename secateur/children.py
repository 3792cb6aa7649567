"""Child processes of `secateur serve`: started in their own sessions, restarted, ended in order."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from core.errors import SecateurError
from core.processes import die_with_parent

_BACKOFF_SECONDS = 0.5  # before the first restart; doubled for each further one
_MOST_DEATHS = 5  # in a row, each after less than a long life
_LONG_LIFE_SECONDS = 60.0
_LAST_LINES = 8


def start(
    command: Sequence[str],
    *,
    log: Path,
    stdin: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command`, with its output added to `log`.

    Its own session keeps Ctrl-C in the terminal from reaching it before its parent decides. It
    dies with the parent's main thread, which must be the one that calls this.
    """
    parent = os.getpid()
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
            # Programs that are not ours cannot ask for this themselves; no thread runs here that
            # could hold a lock over the fork.
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509
        )


class Kept:
    """A child that is started again when it dies, unless it keeps dying."""

    def __init__(
        self, name: str, log: Path, launch: Callable[[Path], "subprocess.Popen[bytes]"]
    ) -> None:
        self.name, self._log, self._launch = name, log, launch
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._started_at = 0.0
        self._start_at = 0.0

    def tend(self, tick: float) -> None:
        """Start it when it is due. Raises SecateurError when it has died too often."""
        if self._process is None:
            if tick >= self._start_at:
                self._process, self._started_at = self._launch(self._log), tick
            return
        status = self._process.poll()
        if status is None:
            return
        self._process = None
        long_lived = tick - self._started_at >= _LONG_LIFE_SECONDS
        self._deaths = 1 if long_lived else self._deaths + 1
        if self._deaths >= _MOST_DEATHS:
            raise SecateurError(
                f"{self.name} ended {self._deaths} times in a row, with status {status}:\n"
                f"{_last_lines(self._log)}\n",
                remedy=f"Its whole log is {self._log}.",
            )
        self._start_at = tick + _BACKOFF_SECONDS * 2 ** (self._deaths - 1)

    def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to its whole session after `grace` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Family:
    """Children in the order of their start. The last to come is the first to be stopped."""

    def __init__(self, logs: Path, clock: Callable[[], float]) -> None:
        self._logs, self._clock = logs, clock
        self._members: list[Kept] = []
        logs.mkdir(exist_ok=True)

    def add(self, name: str, launch: Callable[[Path], "subprocess.Popen[bytes]"]) -> None:
        """Start a child now, and keep it running from now on."""
        member = Kept(name, self._logs / f"{name}.log", launch)
        self._members.append(member)
        member.tend(self._clock())

    def tend(self) -> None:
        """Look after everyone; call it often. Raises SecateurError when a child keeps dying."""
        for member in self._members:
            member.tend(self._clock())

    def stop(self, grace: float) -> None:
        """End everyone, each given `grace` seconds for what it has to bring to an end."""
        while self._members:
            self._members.pop().stop(grace)


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
