"""Chromium without a window, for tests that look at the dashboard as people do.

Spoken to in the DevTools protocol over two pipes, so that nothing but the browser has to be installed.
"""

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pytest

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
_SECONDS: Final = 20.0
_TRIED: Final = """(() => {
  try { const found = %s; return found instanceof Node || found; } catch { return null; }
})()"""
_READS, _WRITES = 3, 4  # the descriptors that Chromium takes for its commands and its answers


@dataclass
class Chrome:
    """A running browser; one command at a time."""

    commands: IO[bytes]
    answers: IO[bytes]
    events: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0

    def call(self, method: str, session: str | None = None, /, **params: Any) -> dict[str, Any]:
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        self.commands.write(json.dumps(command).encode() + b"\0")
        self.commands.flush()
        while (message := self._next()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, (method, message["error"])
        result: dict[str, Any] = message["result"]
        return result

    def page(self, width: int = 1280, *, dark: bool = False) -> "Page":
        """A new page that shares no cookie with another."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        return page

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        return message


@dataclass(frozen=True, slots=True)
class Page:
    chrome: Chrome
    session: str

    def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        return self.chrome.call(method, self.session, **params)

    def open(self, url: str) -> None:
        assert "errorText" not in self.call("Page.navigate", url=url)

    def eval(self, script: str) -> Any:
        """What the expression gives, once a promise is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = _SECONDS) -> Any:
        """The expression's value, true for an element, as soon as there is one; without what it throws."""
        deadline = time.monotonic() + seconds
        while not (value := self.eval(_TRIED % script)):
            assert time.monotonic() < deadline, (script, self.eval("document.body.innerText"))
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.until(f"document.querySelector({json.dumps(selector)})?.innerText"))

    def press(self, key: str, code: int) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def complaints(self) -> list[str]:
        """Exceptions that nothing caught, and what the browser refused to do."""
        self.eval("1")  # whatever was told before has arrived
        mine = [each for each in self.chrome.events if each.get("sessionId") == self.session]
        thrown = [m["params"] for m in mine if m["method"] == "Runtime.exceptionThrown"]
        entries = [m["params"]["entry"] for m in mine if m["method"] == "Log.entryAdded"]
        return [str(each) for each in thrown + [e for e in entries if e["level"] == "error"]]


@contextmanager
def chrome(folder: Path) -> Iterator[Chrome]:
    """A browser whose profile lies in `folder`; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(_NAMES)}: apt-get install chromium")
    flags = [*_FLAGS, f"--user-data-dir={folder}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # which Chromium asks of root
    (their_in, commands), (answers, their_out) = _pipe(), _pipe()
    with os.fdopen(commands, "wb") as writing, os.fdopen(answers, "rb") as reading:
        process = _started(program, flags, their_in, their_out)
        try:
            yield Chrome(writing, reading)
        finally:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the descriptors that the browser takes."""
    low = os.pipe()
    first, second = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in low)
    for each in low:
        os.close(each)
    return first, second


def _started(program: str, flags: list[str], reads: int, writes: int) -> int:
    """The browser's process id, which is its group's as well."""
    try:
        return os.posix_spawn(
            program,
            [program, *flags],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reads, _READS),
                (os.POSIX_SPAWN_DUP2, writes, _WRITES),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setpgroup=0,
        )
    finally:
        os.close(reads)
        os.close(writes)
