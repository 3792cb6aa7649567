"""Documents out of files of text, read piece by piece: no file is ever whole in memory."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow
from pyarrow import parquet

from core.errors import DataError, TextNotFound

PIECE = 1 << 20
"""Characters that are one document at most. A longer one is cut after a line, so that a tokenizer,
which needs many times its text, is never given more at once."""
MAX_LINE = 1 << 26
"""Characters of a line of .jsonl: more is no document."""
MAX_ROW_GROUP = 1 << 31
"""Bytes of text that a row group of .parquet may hold once decompressed."""
ROWS = 256
"""Rows of .parquet that are decoded at once."""


def read_documents(path: Path) -> Iterator[str]:
    """Documents of a .txt file (one), or of a .jsonl or .parquet file (one a line or row, under
    `text`), in the file's order; those longer than `PIECE` in pieces.

    Raises:
        TextNotFound: no such file, or another kind of file.
        DataError: not what its suffix says, not UTF-8, or a line or row without `text`.
    """
    if not path.is_file():
        raise TextNotFound(f"{path} is not a file.", remedy="Check calibration.source.")
    if path.suffix not in READERS:
        known = ", ".join((*READERS, ".safetensors"))
        raise TextNotFound(f"{path.name} is not one of {known}.")
    try:
        for document in READERS[path.suffix](path):
            yield from _pieces(document)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8: {error}.") from None


def _pieces(document: str) -> Iterator[str]:
    begin = 0
    while len(document) - begin > PIECE:
        end = _cut(document, begin)
        yield document[begin:end]
        begin = end
    yield document[begin:]


def _cut(text: str, begin: int) -> int:
    """Where a piece that starts at `begin` ends: after its last line, or where it is full."""
    line_end = text.rfind("\n", begin, begin + PIECE) + 1
    return line_end or begin + PIECE


def _read_txt(path: Path) -> Iterator[str]:
    """What `_pieces` makes of the whole text, without ever holding it."""
    rest = ""
    with path.open(encoding="utf-8") as file:
        while more := file.read(PIECE + 1 - len(rest)):
            rest += more
            if len(rest) > PIECE:
                end = _cut(rest, 0)
                yield rest[:end]
                rest = rest[end:]
    yield rest


def _read_jsonl(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise DataError(f"{path.name}, line {number}: longer than {MAX_LINE} characters.")
            if line.strip():
                yield _text_of(line, path, number)


def _text_of(line: str, path: Path, number: int) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise DataError(f"{path.name}, line {number}: not an object with a string `text`.")
    text: str = entry["text"]
    return text


def _read_parquet(path: Path) -> Iterator[str]:
    try:
        with parquet.ParquetFile(path) as file:
            _check_parquet(path, file)
            row = 0
            for batch in file.iter_batches(ROWS, columns=["text"]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    if not isinstance(text, str):
                        raise DataError(f"{path.name}, row {row}: `text` is not a string.")
                    yield text
    except (pyarrow.ArrowException, OSError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name} is not a readable .parquet file: {line}.") from None


def _check_parquet(path: Path, file: parquet.ParquetFile) -> None:
    names = file.schema_arrow.names
    if names.count("text") != 1:
        raise DataError(
            f"{path.name} has the columns {', '.join(names) or '(none)'}.",
            remedy="It must have one column `text`.",
        )
    for group in range(file.num_row_groups):
        row_group = file.metadata.row_group(group)
        columns = [row_group.column(i) for i in range(row_group.num_columns)]
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == "text")
        if size > MAX_ROW_GROUP:
            raise DataError(
                f"{path.name}, row group {group}: {size} bytes of text, more than {MAX_ROW_GROUP}.",
                remedy="Write the file in smaller row groups.",
            )


READERS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
