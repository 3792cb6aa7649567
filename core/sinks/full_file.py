"""A safetensors file that is written a few rows at a time: its header first, since shapes are known."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

FULL_NAME: Final = "sinks-full.safetensors"
FORMAT: Final = {"format": "secateur-sinks-full-1"}
DTYPES: Final = {
    torch.float32: ("F32", 4),
    torch.int32: ("I32", 4),
    torch.uint8: ("U8", 1),
}
Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


def full_bytes(shapes: Shapes) -> int:
    """Of such a file, but for its header."""
    return sum(DTYPES[dtype][1] * prod(shape) for dtype, shape in shapes.values())


class FullFile:
    """Tensors of known shapes, whose leading elements come and go in pieces: nothing is held."""

    def __init__(self, path: Path, shapes: Shapes) -> None:
        """Make the file at its full size, zeros where nothing was written yet."""
        self._shapes, self._begins = dict(shapes), dict[str, int]()
        header: dict[str, object] = {"__metadata__": FORMAT}
        at = 0
        for name, (dtype, shape) in shapes.items():
            code, width = DTYPES[dtype]
            end = at + prod(shape) * width
            header[name] = {"dtype": code, "shape": shape, "data_offsets": [at, end]}
            self._begins[name], at = at, end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._data = 8 + len(text)
        self._file = path.open("w+b")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._file.truncate(self._data + at)

    def write(self, name: str, begin: int, values: Tensor) -> None:
        """Elements from the flat index `begin` on."""
        dtype, _ = self._shapes[name]
        assert values.dtype == dtype
        self._seek(name, begin)
        self._file.write(values.contiguous().cpu().numpy().tobytes())

    def read(self, name: str, begin: int, count: int) -> Tensor:
        """`count` elements from the flat index `begin` on."""
        dtype, _ = self._shapes[name]
        self._seek(name, begin)
        data = bytearray(self._file.read(count * DTYPES[dtype][1]))
        return torch.frombuffer(data, dtype=dtype) if count else torch.empty(0, dtype=dtype)

    def close(self) -> None:
        self._file.close()

    def _seek(self, name: str, element: int) -> None:
        width = DTYPES[self._shapes[name][0]][1]
        self._file.seek(self._data + self._begins[name] + element * width)


@contextmanager
def full_file(path: Path, shapes: Shapes) -> Iterator[FullFile]:
    """A new file at `path`, open for the length of the block."""
    file = FullFile(path, shapes)
    try:
        yield file
    finally:
        file.close()
