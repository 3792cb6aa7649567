"""Reading a part of a hub's file over a line that breaks."""

import io
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import httpx

from core.errors import SourceUnavailable
from core.hub_line import ENDPOINT, Again, Line, why

SKIPPED_BYTES: Final = 16 << 20
"""Of a file that a hub sends from its beginning whatever part is asked for, as it may do with the
small ones."""
LEAST_RATE: Final = 1 << 10
"""Bytes a second, below which a line counts as broken, once it had time to begin."""
GRACE_SECONDS: Final = 60.0


class PartReader(io.RawIOBase):
    """The bytes [begin, end) of the file of `size` bytes that the hub has at `path`.

    Where the line breaks, the rest is asked for, as often as the line's patience allows.
    """

    def __init__(self, line: Line, path: str, named: str, span: tuple[int, int], size: int) -> None:
        super().__init__()
        self._line, self._path, self._named = line, path, named
        (self._at, self._end), self._size = span, size
        self._breaks = 0
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._due, self._skip = 0, 0
        """Bytes that the present answer may still have, and how many come before ours."""
        self._began, self._received = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while self._at < self._end and not self._rest:
            try:
                self._rest = self._next()
            except Again as error:
                self._break(error)
        count = min(len(view), len(self._rest), self._end - self._at)
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        if count and self._at == self._end:
            self._finish()
        return count

    def _finish(self) -> None:
        """Hear the end of the answer, after which its connection is good for another request."""
        if self._due == 0:
            with suppress(httpx.HTTPError):
                if next(self._pieces, b""):
                    raise self._odd("sends more bytes than it announced")

    def close(self) -> None:
        self._drop()
        super().close()

    def _next(self) -> memoryview:
        """The next bytes that belong here; those before them are let go."""
        if self._response is None:
            self._ask()
        try:
            piece = next(self._pieces, b"")
        except httpx.HTTPError as error:
            raise Again(why(error)) from error
        self._line.patience.left()
        self._received += len(piece)
        self._due -= len(piece)
        if self._due < 0:
            raise self._odd("sends more bytes than it announced")
        seconds = time.monotonic() - self._began
        if seconds > GRACE_SECONDS and self._received < LEAST_RATE * seconds:
            raise Again(f"{self._received} bytes came in {seconds:.0f} seconds")
        if not piece:
            raise Again("the body is too short")
        early = min(len(piece), self._skip)
        self._skip -= early
        return memoryview(piece)[early:]

    def _ask(self) -> None:
        """Ask for all from where we are; for a whole file as a whole, since a hub need not know
        parts of its small ones."""
        whole = self._at == 0 and self._end == self._size
        headers = {} if whole else {"Range": f"bytes={self._at}-{self._end - 1}"}
        self._began, self._received = time.monotonic(), 0
        response = self._response = self._line.get(self._path, headers)
        self._line.judge(response, self._named)
        begin, end, size = self._span(response)
        coded = response.headers.get("content-encoding", "identity") != "identity"
        length = response.headers.get("content-length", "")
        if coded or size != self._size or length not in ("", str(end - begin)):
            raise self._odd(
                f"announces {length or 'some'} bytes of {size}, where the listing says {self._size}"
            )
        if begin > self._at or end < self._end or self._at - begin > SKIPPED_BYTES:
            raise self._odd(f"sends bytes {begin} to {end}, not those that were asked for")
        self._skip, self._due = self._at - begin, end - begin
        self._pieces = response.iter_raw()

    def _span(self, response: httpx.Response) -> tuple[int, int, int]:
        """(begin, end, size of the file) of what `response` holds."""
        if response.status_code != 206:
            length = response.headers.get("content-length", "")
            size = int(length) if length.isascii() and length.isdigit() else self._size
            return 0, size, size
        found = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", ""), re.ASCII
        )
        if not found:
            raise self._odd("does not say which part it sends")
        return int(found[1]), int(found[2]) + 1, int(found[3])

    def _break(self, error: Again) -> None:
        self._drop()
        self._line.patience.left()
        self._breaks += 1
        if self._breaks >= self._line.patience.attempts:
            raise SourceUnavailable(
                f"{self._named}: stopped at byte {self._at} of {self._size}, again and again: {error}.",
                remedy=ENDPOINT,
            ) from error
        pause = self._line.patience.pause * 2 ** (self._breaks - 1)
        self._line.rest(pause if error.wait is None else error.wait)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response, self._rest = None, memoryview(b"")

    def _odd(self, what: str) -> SourceUnavailable:
        self._drop()
        return SourceUnavailable(f"{self._named}: the hub {what}.", remedy=ENDPOINT)
