"""Headers of safetensors files, which may come from anywhere: bounded first, then believed in nothing.

Free of torch and numpy, so that the API reads the same headers as a run.

A file is eight bytes of length, little-endian; that many bytes of JSON; then the tensors' bytes, one
after the other, without holes and to the end of the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import BrokenCheckpoint
from core.strict_json import Bounds, NotStrictJson, parse_strictly

LENGTH_BYTES: Final = 8
"""What a file begins with: the length of its header."""
MAX_TENSORS: Final = 50_000
"""In one file. LLaDA2.0-flash has 25,000 in all of its files."""
MAX_HEADER_BYTES: Final = 16_000_000
"""320 for each of the most tensors. The format allows 100 MB, which as text and Python's objects would
take gigabytes; what this takes at worst is measured in the tests."""
MAX_AXES: Final = 16
MAX_DIM: Final = 1 << 48
MAX_NAME: Final = 512
"""Characters of a tensor's name, or of a key of the metadata."""

_BOUNDS: Final = Bounds(MAX_HEADER_BYTES, values=12 * MAX_TENSORS, depth=4)
_METADATA: Final = "__metadata__"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

BITS: Final[Mapping[str, int]] = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Every dtype of the format → bits of one element."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    """Byte range within the whole file."""


Header = dict[str, TensorEntry]


def read_header(path: Path, named: str) -> Header:
    """The tensors of the file at `path`, which messages call `named`; the tensors are not read.

    Raises:
        BrokenCheckpoint: it is no safetensors file, or one that we do not trust.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = header_length(stream.read(LENGTH_BYTES), size, named)
        return parse_header(stream.read(length), size, named)


def header_length(prefix: bytes, size: int, named: str) -> int:
    """The bytes of the header that a file of `size` bytes announces in its first eight.

    Raises:
        BrokenCheckpoint: more than the file has, or than any header needs.
    """
    length = int.from_bytes(prefix, "little")
    if len(prefix) < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise _broken(named, f"it has {size} bytes, and announces a header of {length} bytes")
    if length > MAX_HEADER_BYTES:
        raise _broken(named, f"its header has {length} bytes; {MAX_HEADER_BYTES} are read")
    return length


def parse_header(data: bytes, size: int, named: str) -> Header:
    """The tensors that the header `data` of a file of `size` bytes describes, in its order.

    Raises:
        BrokenCheckpoint: not as the format wants it; says which tensor, and what about it.
    """
    try:
        if not data.startswith(b"{"):
            raise _Wrong("its header does not begin with '{'")
        try:
            document = parse_strictly(data, _BOUNDS)
        except NotStrictJson as error:
            raise _Wrong(f"its header {error}") from None
        _check_metadata(document.pop(_METADATA, {}))
        if len(document) > MAX_TENSORS:
            raise _Wrong(f"it holds {len(document)} tensors; {MAX_TENSORS} are read")
        before = LENGTH_BYTES + len(data)
        found = {name: _entry(name, value, before) for name, value in document.items()}
        _check_cover(found, before, size)
    except _Wrong as error:
        raise _broken(named, str(error)) from None
    return found


class _Wrong(ValueError):
    """What is wrong, to be put after the name of the file."""


def _broken(named: str, why: str) -> BrokenCheckpoint:
    return BrokenCheckpoint(
        f"{named} is not a valid safetensors file: {why}.",
        remedy="Download or export it again.",
    )


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise _Wrong(f"{_METADATA} is no object")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(key) > MAX_NAME:
            raise _Wrong(f"{_METADATA} {key[:100]!r} must be a short name with a text")


def _entry(name: str, value: Any, before: int) -> TensorEntry:
    if not name or len(name) > MAX_NAME or _CONTROL.search(name):
        raise _Wrong(f"{name[:100]!r} is no name of a tensor")
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise _Wrong(f"{name} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _Wrong(f"{name} has the dtype {str(dtype)[:40]!r}, which the format does not know")
    _check_numbers(f"{name}: shape", shape, MAX_DIM)
    if len(shape) > MAX_AXES:
        raise _Wrong(f"{name} has {len(shape)} axes; {MAX_AXES} are read")
    _check_numbers(f"{name}: data_offsets", offsets, MAX_DIM)
    if len(offsets) != 2:
        raise _Wrong(f"{name}: data_offsets must be two numbers")
    begin, end = offsets
    bits = BITS[dtype]
    for count in shape:
        bits *= count
    if bits != 8 * (end - begin):
        raise _Wrong(f"{name}, {dtype} {shape}, does not fill the bytes {begin} to {end}")
    return TensorEntry(dtype, tuple(shape), before + begin, before + end)


def _check_numbers(what: str, numbers: object, most: int) -> None:
    # type() and not isinstance: true is an int to Python, and no dimension.
    whole = isinstance(numbers, list) and all(type(n) is int and 0 <= n <= most for n in numbers)
    if not whole:
        raise _Wrong(f"{what} must be a list of whole numbers from 0 to {most}")


def _check_cover(found: Header, before: int, size: int) -> None:
    """Every byte after the header belongs to one tensor."""
    at = before
    for name, entry in sorted(found.items(), key=lambda each: (each[1].begin, each[1].end)):
        if entry.begin != at:
            kind = "a hole" if entry.begin > at else "an overlap"
            raise _Wrong(f"there is {kind} before {name}, at byte {min(at, entry.begin)}")
        at = entry.end
    if at != size:
        raise _Wrong(f"its tensors end at byte {at} and the file at byte {size}")
