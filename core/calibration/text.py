"""Calibration text: from a named source to equally long rows of token ids."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Generator, Tensor

from core.errors import DataError, ModelNotFound, TextNotFound, TextTooShort

BUILTIN = Path(__file__).parent / "data"
HELD_OUT = "heldout.txt"
CALIBRATION = "calibration.txt"
MAX_TEXT_BYTES = 1 << 30


def builtin_names() -> list[str]:
    return sorted(p.name for p in BUILTIN.iterdir() if p.is_dir())


def read_builtin(name: str, file: str) -> list[str]:
    """The documents of a shipped text; `file` is CALIBRATION or HELD_OUT."""
    if name not in builtin_names():
        raise TextNotFound(
            f"no builtin text {name!r}.", remedy=f"There are: {', '.join(builtin_names())}."
        )
    return [(BUILTIN / name / file).read_text(encoding="utf-8")]


def read_documents(path: Path) -> list[str]:
    """Documents of a .txt (one) or .jsonl file (one a line, under `text`).

    Raises:
        TextNotFound: no such file, or another kind of file.
        DataError: not UTF-8, too large, or a line without `text`.
    """
    if not path.is_file():
        raise TextNotFound(f"{path} is not a file.", remedy="Check calibration.source.")
    if path.suffix not in (".txt", ".jsonl"):
        raise TextNotFound(f"{path.name}: this version reads .txt, .jsonl and .safetensors.")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise DataError(f"{path.name} is larger than {MAX_TEXT_BYTES} bytes.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8: {error}.") from None
    if path.suffix == ".txt":
        return [text]
    return [_text_of(line, path, n) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


def _text_of(line: str, path: Path, number: int) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise DataError(f"{path.name}, line {number}: not an object with a string `text`.")
    text: str = entry["text"]
    return text


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """The checkpoint's own fast tokenizer."""

    tokenizer: Tokenizer
    start: tuple[int, ...]
    """What the tokenizer puts before every text, such as a start token."""

    def encode(self, documents: Iterable[str]) -> list[int]:
        """All documents one after another, without start tokens."""
        encoded = self.tokenizer.encode_batch(list(documents), add_special_tokens=False)
        return [token for document in encoded for token in document.ids]


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer.json in `folder`; nothing else of it is read.

    Raises:
        ModelNotFound: there is none, or it is unreadable.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelNotFound(
            f"{folder} has no tokenizer.json.",
            remedy="Give a token file (.safetensors with input_ids) as calibration.source.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise ModelNotFound(f"tokenizer.json is unreadable: {error}.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with_text = tokenizer.encode("a", add_special_tokens=True).ids
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    start = with_text[: _first_index(with_text, plain)]
    return TextTokenizer(tokenizer, tuple(start))


def _first_index(tokens: Sequence[int], part: Sequence[int]) -> int:
    width = len(part)
    hits = (i for i in range(len(tokens)) if list(tokens[i : i + width]) == list(part))
    return next(hits, 0) if width else 0


def pack(
    tokens: Sequence[int], start: Sequence[int], samples: int, length: int, seed: int, source: str
) -> Tensor:
    """(samples, length) int64: distinct windows of the text, in an order drawn from `seed`, each
    beginning with the tokenizer's own start tokens.

    Raises:
        TextTooShort: fewer than `samples` windows fit.
    """
    width = length - len(start)
    windows = len(tokens) // width if width > 0 else 0
    if windows < samples:
        raise TextTooShort(source, len(tokens), samples * max(width, 1))
    order = torch.randperm(windows, generator=Generator().manual_seed(seed))[:samples]
    body = torch.tensor(tokens, dtype=torch.int64)[: windows * width].view(windows, width)[order]
    return torch.cat([torch.tensor(list(start), dtype=torch.int64).expand(samples, -1), body], 1)
