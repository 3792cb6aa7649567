"""Calibration text: from a named source to equally long rows of token ids."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Generator, Tensor

from core.errors import (
    BrokenCheckpoint,
    ModelNotFound,
    SecateurError,
    TextTooShort,
)

MAX_TOKENIZER_BYTES = 100_000_000
"""Three times the largest that is published; the library needs several times a file's size."""

READ_AHEAD = 8
"""Of a long text, this many times the tokens that are needed are read: windows are drawn from all
of them, and a run over a few megabytes must not wait for gigabytes."""
READ_AT_LEAST = 1 << 20
"""Tokens that are read in any case, so that a small run still draws from a varied text."""
BATCH = 1 << 20
"""Characters of documents that are encoded together."""


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

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without special tokens and without ids that are no tokens."""
        if self.tokenizer.decoder is not None or not self._spells():
            return self.tokenizer.decode(list(ids), skip_special_tokens=True)
        added = self.tokenizer.get_added_tokens_decoder()
        kept = [i for i in ids if not (i in added and added[i].special)]
        return "".join(self.tokenizer.id_to_token(i) or "" for i in kept)

    def _spells(self) -> bool:
        """Whether tokens are the text cut up, spaces included. A tokenizer that does not say how its
        tokens are put together has a space put between any two of them."""
        return "".join(self.tokenizer.encode("a b", add_special_tokens=False).tokens) == "a b"

    def encode_up_to(self, enough: int, documents: Iterable[str]) -> Tensor:
        """The first `enough` tokens of the documents, or all there are: (tokens,) int64.

        No document is asked for once there are enough, and no more than `BATCH` characters and
        one document are encoded at once.
        """
        found: list[Tensor] = []
        count = 0
        for batch in _batches(documents):
            tokens = torch.tensor(self.encode(batch), dtype=torch.int64)
            found.append(tokens)
            count += len(tokens)
            if count >= enough:
                break
        return torch.cat(found)[:enough] if found else torch.empty(0, dtype=torch.int64)


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive documents, as many as reach `BATCH` characters."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document) + 1  # so that empty documents do not gather without end
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def tokens_to_read(windows: int, width: int) -> int:
    """How much of a text is enough for `windows` windows of `width` tokens."""
    return max(READ_AHEAD * windows * width, READ_AT_LEAST)


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
    if path.stat().st_size > MAX_TOKENIZER_BYTES:
        raise BrokenCheckpoint(
            f"tokenizer.json has {path.stat().st_size} bytes; {MAX_TOKENIZER_BYTES} are read.",
            remedy="Give a token file (.safetensors with input_ids) as calibration.source.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        with_text = tokenizer.encode("a", add_special_tokens=True).ids
        plain = tokenizer.encode("a", add_special_tokens=False).ids
    except BaseException as error:
        # The library raises bare Exceptions, and where it panics what is not even one of these.
        if isinstance(error, KeyboardInterrupt | SystemExit | SecateurError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise ModelNotFound(f"tokenizer.json is unreadable: {reason}.") from None
    start = with_text[: _first_index(with_text, plain)]
    return TextTokenizer(tokenizer, tuple(start))


def _first_index(tokens: Sequence[int], part: Sequence[int]) -> int:
    width = len(part)
    hits = (i for i in range(len(tokens)) if list(tokens[i : i + width]) == list(part))
    return next(hits, 0) if width else 0


def pack(
    tokens: Sequence[int] | Tensor,
    start: Sequence[int],
    samples: int,
    length: int,
    seed: int,
    source: str,
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
    body = torch.as_tensor(tokens, dtype=torch.int64)[: windows * width].view(windows, width)[order]
    return torch.cat([torch.tensor(list(start), dtype=torch.int64).expand(samples, -1), body], 1)
