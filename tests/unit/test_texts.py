"""The way from text to rows of tokens."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from core.calibration.builtin import read_builtin
from core.calibration.documents import read_documents
from core.calibration.text import load_tokenizer, pack
from core.calibration.token_file import read_token_file
from core.errors import BadTokenFile, DataError, ModelNotFound, TextNotFound, TextTooShort
from tests.checkpoints import VOCABULARY, write_tokenizer


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(2, 30), st.integers(0, 2), st.integers(0, 99))
def test_windows_are_distinct_and_begin_with_the_start_token(
    samples: int, length: int, starts: int, seed: int
) -> None:
    start = [1000] * min(starts, length - 1)
    tokens = list(range(400))
    width = length - len(start)
    if len(tokens) // width < samples:
        with pytest.raises(TextTooShort, match=f"400 tokens found, {samples * width} needed"):
            pack(tokens, start, samples, length, seed, "text")
        return
    rows = pack(tokens, start, samples, length, seed, "text")
    assert rows.shape == (samples, length)
    body = rows[:, len(start) :]
    assert rows[:, : len(start)].eq(1000).all()
    assert torch.unique(body).numel() == body.numel()
    assert (body[:, 1:] - body[:, :-1]).eq(1).all()


def test_the_tokenizer_brings_its_start_token(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert tokenizer.start == (VOCABULARY - 3,)
    assert tokenizer.encode(["ab", "c"]) == [0, 1, 2]


def test_no_tokenizer_says_what_to_give_instead(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="token file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelNotFound, match="unreadable"):
        load_tokenizer(tmp_path)


def test_builtin_texts_do_not_overlap() -> None:
    (calibration,) = read_builtin("plain-text", "calibration.txt")
    (held_out,) = read_builtin("plain-text", "heldout.txt")
    long = {line for line in held_out.splitlines() if len(line) > 120}
    shared = long & set(calibration.splitlines())
    # The text repeats itself in places (Psalms 14 and 53, parallel histories), not by the split.
    assert len(shared) < 0.01 * len(long)
    with pytest.raises(TextNotFound, match="plain-text"):
        read_builtin("other", "calibration.txt")


def test_documents_of_files(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps({"text": "one"}) + "\n\n" + json.dumps({"text": "two"}) + "\n")
    assert list(read_documents(lines)) == ["one", "two"]
    lines.write_text('{"text": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        list(read_documents(lines))
    plain = tmp_path / "a.txt"
    plain.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        list(read_documents(plain))
    with pytest.raises(TextNotFound, match="not a file"):
        list(read_documents(tmp_path / "none.txt"))
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(TextNotFound, match=r"\.jsonl"):
        list(read_documents(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"other": torch.zeros(2, 3)}, "input_ids"),
        ({"input_ids": torch.zeros(2, 3)}, "int64"),
        ({"input_ids": torch.zeros(6, dtype=torch.int64)}, "2 non-empty axes"),
        ({"input_ids": torch.full((2, 3), 10)}, "vocabulary"),
        ({"input_ids": torch.full((2, 3), -1)}, "vocabulary"),
        (
            {
                "input_ids": torch.zeros(2, 3, dtype=torch.int64),
                "noised_input_ids": torch.zeros(2, 4, 5, dtype=torch.int64),
            },
            "does not match",
        ),
    ],
)
def test_bad_token_files_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    path = tmp_path / "tokens.safetensors"
    save_file(tensors, path)
    with pytest.raises(BadTokenFile, match=message):
        read_token_file(path, vocabulary=10)


def test_a_token_file_that_is_no_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "tokens.safetensors"
    path.write_bytes(b"PK\x03\x04 not safetensors at all")
    with pytest.raises(BadTokenFile, match="not a valid safetensors"):
        read_token_file(path, vocabulary=10)


def test_tokens_become_text_again(tmp_path: Path) -> None:
    """Whether tokens are characters, as in the examples, or words between spaces."""
    write_tokenizer(tmp_path)
    spelt = load_tokenizer(tmp_path)
    ids = [*spelt.start, *spelt.encode(["In the beginning, he said."])]
    assert spelt.decode([*ids, 10**6]) == "In the beginning, he said."
    words = Tokenizer(models.WordLevel({"In": 0, "the": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).decode([0, 1]) == "In the"
