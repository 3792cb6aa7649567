"""Chromium without a window, for tests that look at pages as people do. Driven by Playwright."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import playwright.sync_api as playwright
import pytest

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server")
_SECONDS: Final = 20.0
_TRIED: Final = """(() => {
  try { const found = %s; return found instanceof Node || found; } catch { return null; }
})()"""


@dataclass
class Page:
    """A page of its own, which shares no cookie with another."""

    page: playwright.Page
    said: list[str] = field(default_factory=list)
    """Exceptions that nothing caught, and what the browser refused to do."""

    def open(self, url: str) -> None:
        self.page.goto(url, wait_until="load")

    def eval(self, script: str) -> Any:
        """What the expression gives, once a promise is kept."""
        return self.page.evaluate(script)

    def until(self, script: str, seconds: float = _SECONDS) -> Any:
        """The expression's value, true for an element, as soon as there is one; without what it throws."""
        deadline = time.monotonic() + seconds
        while not (value := self._tried(script)):
            assert time.monotonic() < deadline, (script, self.eval("document.body.innerText"))
            time.sleep(0.05)
        return value

    def _tried(self, script: str) -> Any:
        try:
            return self.eval(_TRIED % script)
        except playwright.Error as error:
            if "context was destroyed" not in error.message:
                raise
            return None  # the page is on its way to another

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.until(f"document.querySelector({json.dumps(selector)})?.innerText"))

    def type(self, text: str) -> None:
        self.page.keyboard.insert_text(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def complaints(self) -> list[str]:
        self.eval("1")  # whatever was told before has arrived
        return self.said


@dataclass(frozen=True, slots=True)
class Chrome:
    """A running browser."""

    browser: playwright.Browser

    def page(self, width: int = 1280, *, dark: bool = False, offline: bool = False) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
            offline=offline,
        )
        page = Page(context.new_page())
        page.page.on("pageerror", lambda error: page.said.append(str(error)))
        page.page.on(
            "console",
            lambda message: page.said.append(message.text) if message.type == "error" else None,
        )
        return page


@contextmanager
def chrome(folder: Path) -> Iterator[Chrome]:
    """A browser that keeps what it writes in `folder`; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(_NAMES)}: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=program, args=list(_FLAGS), downloads_path=folder
        )
        try:
            yield Chrome(browser)
        finally:
            browser.close()
