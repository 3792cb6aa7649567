"""Headers of safetensors files: what is read, what is refused and why, and what reading costs at worst."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file

from core.errors import BrokenCheckpoint
from core.models.headers import (
    BITS,
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    TensorEntry,
    parse_header,
    read_header,
)
from tests.fuzz.bombs import BOMBS

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "U8", "shape": [4], "data_offsets": [24, 28]}


def packed(document: object, data: int = 28) -> bytes:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


def read(tmp_path: Path, content: bytes) -> dict[str, TensorEntry]:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return read_header(path, "model.safetensors")


def test_a_header_says_where_each_tensor_lies(tmp_path: Path) -> None:
    document = {"__metadata__": {"format": "pt"}, "b": B, "a": A}
    before = 8 + len(json.dumps(document))
    assert read(tmp_path, packed(document)) == {
        "a": TensorEntry("F32", (2, 3), before, before + 24),
        "b": TensorEntry("U8", (4,), before + 24, before + 28),
    }


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_what_the_library_writes_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "x": torch.zeros(3, 5, dtype=dtype),
        "none": torch.zeros(0, 4),
        "one": torch.ones(()),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata={"ü": "{"})
    found = read_header(tmp_path / "a.safetensors", "a.safetensors")
    assert {name: entry.shape for name, entry in found.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }


def test_padding_and_a_file_without_tensors(tmp_path: Path) -> None:
    assert read(tmp_path, packed(b"{}     \n", 0)) == {}


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([], "does not begin"),
    "a space first": (b' {"a": 1}', "does not begin"),
    "no JSON": (b"{", "is not JSON"),
    "no UTF-8": (b'{"\xff": 1}', "not UTF-8"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "half a surrogate": (b'{"\\ud800": 1}', "surrogate"),
    "a key twice": (b'{"a": 1, "a": 2}', "'a' twice"),
    "an inner key twice": (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "'dtype' twice"),
    "too deep": ({"a": {"dtype": [[[[[]]]]]}}, "levels deep"),
    "far too deep": (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    "an endless number": (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
    "an infinite number": (b'{"a": 1e999}', "too large"),
    "no name": ({"": A, "b": B}, "no name of a tensor"),
    "a newline in a name": ({"a\nb": A, "b": B}, "no name of a tensor"),
    "no object": ({"a": 3}, "must have dtype"),
    "a key too many": ({"a": A | {"strides": [1]}, "b": B}, "and nothing else"),
    "a key too few": ({"a": {"dtype": "F32", "shape": [7]}}, "must have dtype"),
    "unknown dtype": ({"a": A | {"dtype": "F33"}, "b": B}, "does not know"),
    "dtype of no text": ({"a": A | {"dtype": ["F32"]}, "b": B}, "does not know"),
    "true as a dimension": ({"a": A | {"shape": [True, 6]}, "b": B}, "whole numbers"),
    "a broken dimension": ({"a": A | {"shape": [2.0, 3]}, "b": B}, "whole numbers"),
    "a negative dimension": ({"a": A | {"shape": [-2, -3]}, "b": B}, "whole numbers"),
    "a huge dimension": ({"a": A | {"shape": [0, 2**62]}, "b": B}, "whole numbers"),
    "dimensions that overflow": ({"a": A | {"shape": [2**40, 2**40]}, "b": B}, "does not fill"),
    "too many axes": ({"a": A | {"shape": [2, 3] + [1] * 20}, "b": B}, "axes"),
    "no offsets": ({"a": A | {"data_offsets": []}, "b": B}, "two numbers"),
    "backwards": ({"a": A | {"data_offsets": [24, 0]}, "b": B}, "does not fill"),
    "too few bytes": ({"a": A | {"data_offsets": [0, 20]}, "b": B}, "does not fill"),
    "spaces for tensors": (b"{" + b" " * 1000 + b"}", "end at byte"),
    "half a byte": ({"a": {"dtype": "F4", "shape": [57], "data_offsets": [0, 28]}}, "not fill"),
    "an overlap": ({"a": A, "b": B | {"data_offsets": [20, 24]}}, "an overlap before b"),
    "a hole": ({"a": B | {"data_offsets": [0, 4]}, "b": B}, "a hole before b"),
    "beyond the end": ({"a": A, "b": B | {"shape": [8], "data_offsets": [24, 32]}}, "end at byte"),
    "short of the end": ({"a": A}, "end at byte"),
    "metadata of no object": ({"__metadata__": [], "a": A, "b": B}, "is no object"),
    "metadata with a number": ({"__metadata__": {"n": 1}, "a": A, "b": B}, "must be a short name"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_header_is_refused_by_name(tmp_path: Path, wrong: str) -> None:
    document, message = WRONG[wrong]
    with pytest.raises(BrokenCheckpoint, match=message) as caught:
        read(tmp_path, packed(document))
    assert caught.value.message.startswith("model.safetensors is not a valid safetensors file: ")
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"\x01", struct.pack("<Q", 3), b"\xff" * 20])
def test_a_file_shorter_than_it_says(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BrokenCheckpoint, match="announces a header"):
        read(tmp_path, content)


def test_a_header_that_no_model_needs_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        stream.truncate(10**9)  # a sparse file: nothing of it is on the disk
    with pytest.raises(BrokenCheckpoint, match=f"{MAX_HEADER_BYTES} are read"):
        read_header(path, "a.safetensors")


def test_too_many_tensors() -> None:
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    data = json.dumps({f"{i:x}": entry for i in range(MAX_TENSORS + 1)}).encode()
    with pytest.raises(BrokenCheckpoint, match=f"holds {MAX_TENSORS + 1} tensors"):
        parse_header(data, 8 + len(data), "a.safetensors")


def test_every_dtype_of_the_library_is_known() -> None:
    assert set(safetensors.torch._TYPES) <= set(BITS)


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_worst_header_takes_bounded_memory_and_time(bomb: str) -> None:
    """Without bounds some of these take gigabytes, or minutes."""
    command = [sys.executable, "-m", "tests.fuzz.bombs", bomb]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[0]) < 10, done.stdout  # 2 s, on a machine that is not busy
