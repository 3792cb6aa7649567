"""Reading an object over a line that breaks."""

import hashlib
import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from botocore.exceptions import BotoCoreError, FlexibleChecksumError

from core.errors import CorruptObject, StoreUnavailable

_PIECE: Final = 1 << 18
_SMALL_PIECE: Final = 1 << 16  # once a line has broken: so much the next break loses at most

Get = Callable[..., dict[str, Any]]
"""`get_object` of one key: takes `Range` and `IfMatch`, raises named errors."""


class ResumingReader(io.RawIOBase):
    """The bytes of one version of an object from `start` on.

    Where the body breaks off, it asks for the rest of the same version, `resumes` times at most.
    A read from the first byte to the last is checked against the SHA-256 that was stored with the
    object, before the last bytes are handed out.
    """

    def __init__(
        self,
        key: str,
        get: Get,
        *,
        start: int,
        resumes: int,
        stop: int | None = None,
        etag: str = "",
    ) -> None:
        """Up to byte `stop`, where the object is `etag`'s version, where these are given."""
        super().__init__()
        self._key, self._get, self._resumes = key, get, resumes
        self._at, self._piece = start, _PIECE
        self._last = "" if stop is None else str(stop - 1)
        first = self._ask(etag) if start or stop is not None else get()
        self._etag: str = first.get("ETag", "")
        self._end = start + int(first["ContentLength"])
        self._body = self._placed(first)
        whole = start == 0 and stop is None
        self._sha256 = first.get("Metadata", {}).get("sha256") if whole else None
        self._seen = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.piece(len(view))
        view[: len(data)] = data
        return len(data)

    def piece(self, most: int = _PIECE) -> bytes:
        """The next bytes, as they come; nothing at the end."""
        data = self._next(min(most, self._piece, self._end - self._at))
        self._at += len(data)
        if self._sha256 is not None:
            self._seen.update(data)
        if data and self._at == self._end:
            self._check()
        return data

    def close(self) -> None:
        if not self.closed:
            with suppress(OSError, BotoCoreError):
                self._body.close()
        super().close()

    def _next(self, count: int) -> bytes:
        while count:
            why = "the body is too short"
            try:
                data: bytes = self._body.read(count)
            except FlexibleChecksumError:
                raise self._damaged() from None
            except BotoCoreError as error:
                data, why = b"", " ".join(str(error).split())[:300].rstrip(".")
            if data:
                return data
            self._resume(why)
        return b""

    def _resume(self, why: str) -> None:
        if not self._resumes:
            raise StoreUnavailable(
                f"reading {self._key!r} stopped at byte {self._at} of {self._end}, again and again: {why}.",
                remedy="Check the line to the store, or raise `timeout` and `attempts` in SECATEUR_STORE_URL.",
            )
        self._resumes -= 1
        self._piece = _SMALL_PIECE
        self._body.close()
        self._body = self._placed(self._ask(self._etag))

    def _ask(self, etag: str) -> dict[str, Any]:
        version = {"IfMatch": etag} if etag else {}
        return self._get(Range=f"bytes={self._at}-{self._last}", **version)

    def _placed(self, answer: dict[str, Any]) -> Any:
        """The body of `answer`, which must begin where we are."""
        span = re.match(r"bytes (\d+)-", answer.get("ContentRange", "bytes 0-"))
        if not span or int(span[1]) != self._at:
            raise StoreUnavailable(
                f"asked for {self._key!r} from byte {self._at}, the store sent another part.",
                remedy="Use a store that honours Range.",
            )
        return answer["Body"]

    def _check(self) -> None:
        if self._sha256 is not None and self._seen.hexdigest() != self._sha256:
            raise self._damaged()

    def _damaged(self) -> CorruptObject:
        return CorruptObject(
            f"{self._key!r} differs from the SHA-256 stored with it.",
            remedy="Read it again; if that fails too, the store is damaged.",
        )
