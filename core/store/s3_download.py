"""Getting a large object into a file, several ranges at a time."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from core.errors import CorruptObject
from core.store.s3_options import S3Options
from core.store.s3_reader import Get, ResumingReader

_RANGE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Downloader:
    """Reads one version of the object `key`, which `held`, an answer to HEAD, describes."""

    get: Get
    options: S3Options
    key: str
    held: dict[str, Any]

    def write(self, file: BinaryIO) -> None:
        """Write the object to `file`; at most 2 × `threads` + 1 ranges of it are in memory.

        Raises:
            CorruptObject: the bytes differ from the SHA-256 that is stored with them.
            StoreError: the object was replaced meanwhile, or the line broke again and again.
        """
        seen = hashlib.sha256()
        for data in self._pieces(file.fileno()):
            seen.update(data)
        stored = self.held["Metadata"].get("sha256")
        if stored is not None and stored != seen.hexdigest():
            raise CorruptObject(
                f"{self.key!r} differs from the SHA-256 stored with it.",
                remedy="Read it again; if that fails too, the store is damaged.",
            )

    def _pieces(self, file: int) -> Iterator[bytes]:
        """What has been written, in order."""
        size = self.held["ContentLength"]
        pool = ThreadPoolExecutor(self.options.threads)
        pending: deque[Future[list[bytes]]] = deque()
        try:
            for start in range(0, size, _RANGE):
                pending.append(pool.submit(self._copy, file, start, min(start + _RANGE, size)))
                # Twice as many as are under way, so that hashing one keeps none from beginning.
                if len(pending) > 2 * self.options.threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _copy(self, file: int, start: int, stop: int) -> list[bytes]:
        with ResumingReader(
            self.key,
            self.get,
            start=start,
            stop=stop,
            etag=self.held["ETag"],
            resumes=self.options.attempts,
        ) as reader:
            pieces, at = [], start
            while data := reader.piece():
                at += os.pwrite(file, data, at)
                pieces.append(data)
        return pieces
