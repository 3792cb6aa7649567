"""`python -m tests.fuzz.bombs NAME`: parse the worst header of a kind in a process that may not have
more memory, and say what that took."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import BrokenCheckpoint
from core.models.headers import MAX_HEADER_BYTES, parse_header

MOST_MEMORY = 500 << 20
"""Address space of the whole process."""


def padded(data: bytes) -> bytes:
    """`data` with spaces before its last bracket, as long as a header may be."""
    return data[:-1] + b" " * (MAX_HEADER_BYTES - len(data)) + data[-1:]


def keys(count: int) -> bytes:
    return b",".join(b'"%x":0' % i for i in range(count))


BOMBS: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: padded(b'{"a":[' + b"[]," * ((MAX_HEADER_BYTES - 20) // 3) + b"[]]}"),
    "as many lists as allowed": lambda: padded(b'{"a":[' + b"[]," * 299_000 + b"[]]}"),
    "as many objects as allowed": lambda: padded(b'{"a":[' + b'{"b":{}},' * 199_000 + b"[]]}"),
    "as many texts as allowed": lambda: padded(
        b'{"a":[' + b",".join(b'"%x"' % i for i in range(599_000)) + b"]}"
    ),
    "nested lists": lambda: b'{"a":' + b"[" * (MAX_HEADER_BYTES - 5),
    "nested lists as allowed": lambda: padded(b'{"a":' + b"[" * 599_000 + b"]"),
    "keys": lambda: padded(b"{" + keys(1_400_000) + b"}"),
    "as many keys as allowed": lambda: padded(b"{" + keys(599_000) + b"}"),
    "the last key twice": lambda: padded(b"{" + keys(590_000) + b',"x":0,"x":0}'),
    "a wide text": lambda: padded(b'{"a":"' + "é".encode() * 7_900_000 + "\U0001f600".encode() + b'"}'),
    "escapes": lambda: padded(b'{"a":"' + b"\\u00e9" * 2_600_000 + b'"}'),
    "digits": lambda: padded(b'{"a":' + b"9" * (MAX_HEADER_BYTES - 20) + b"}"),
    "tensors": lambda: padded(
        json.dumps(
            {f"{i:x}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(50_001)}
        ).encode()
    ),
}  # fmt: skip


def main(name: str) -> None:
    data = BOMBS[name]()
    assert len(data) == MAX_HEADER_BYTES
    before = peak_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    start = time.process_time()
    with pytest.raises(BrokenCheckpoint) as caught:
        parse_header(data, 8 + len(data), "bomb")
    seconds = time.process_time() - start
    assert len(caught.value.message) < 1000, caught.value.message[:2000]
    print(f"{seconds:.2f} s, {(peak_bytes() - before) >> 20} MiB: {caught.value.message}")


def peak_bytes() -> int:
    """The most this process has held; `getrusage` would tell its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1])
