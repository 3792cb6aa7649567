"""Reading texts piece by piece: formats, their faults, and that no more is read than is needed."""

import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from core.calibration import documents
from core.calibration.documents import read_documents
from core.calibration.text import READ_AT_LEAST, load_tokenizer, tokens_to_read
from core.errors import DataError, TextNotFound


def write_parquet(path: Path, texts: list[object], *, rows: int = 2, column: str = "text") -> Path:
    table = pyarrow.table({"id": list(range(len(texts))), column: texts})
    parquet.write_table(table, path, row_group_size=rows)
    return path


def test_lines_of_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    # U+2028 ends a line of text, and no line of JSON.
    path.write_text('{"text": "one"}\n\n{"text": "two\u2028still two", "id": 4}\r\n', "utf-8")
    assert list(read_documents(path)) == ["one", "two\u2028still two"]


@pytest.mark.parametrize(
    "line", ['{"text": 1}', '"text"', "{", '{"other": "x"}', "[" * 100_000], ids=lambda v: v[:9]
)
def test_bad_lines_of_jsonl_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not an object with a string `text`"):
        list(read_documents(path))


def test_a_line_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_LINE", 50)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x" * 100}))
    with pytest.raises(DataError, match="line 1: longer than 50"):
        list(read_documents(path))


def test_rows_of_parquet_come_in_order_over_row_groups(tmp_path: Path) -> None:
    texts: list[object] = [f"document {n}" for n in range(601)]
    path = write_parquet(tmp_path / "a.parquet", texts, rows=100)
    assert parquet.ParquetFile(path).num_row_groups == 7
    assert list(read_documents(path)) == texts


def test_bad_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match="columns id, body"):
        list(read_documents(write_parquet(path, ["x"], column="body")))
    with pytest.raises(DataError, match="row 3: `text` is not a string"):
        list(read_documents(write_parquet(path, ["x", "y", None])))
    with pytest.raises(DataError, match="row 1: `text` is not a string"):
        list(read_documents(write_parquet(path, [1, 2])))
    path.write_bytes(b"PAR1 and nothing that follows from it PAR1")
    with pytest.raises(DataError, match=r"not a readable \.parquet"):
        list(read_documents(path))
    whole = write_parquet(path, [f"document {n}" * 50 for n in range(50)]).read_bytes()
    broken = bytearray(whole)
    broken[4:200] = bytes(196)
    path.write_bytes(bytes(broken))
    with pytest.raises(DataError, match=r"not a readable \.parquet"):
        list(read_documents(path))


def test_a_row_group_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_ROW_GROUP", 1000)
    path = write_parquet(tmp_path / "a.parquet", ["x" * 30, "y" * 5000])
    with pytest.raises(DataError, match=r"row group 0: .* more than 1000"):
        list(read_documents(path))


@given(st.text("ab\n", max_size=60), st.integers(1, 12))
def test_long_texts_come_in_pieces_that_end_with_a_line(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "PIECE", piece)
        found = list(documents._pieces(text))
    assert "".join(found) == text
    assert all(len(part) <= piece for part in found)
    for part, after in pairwise(found):
        assert part.endswith("\n") or "\n" not in (part + after)[:piece]


def test_a_text_file_comes_in_the_same_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "PIECE", 100)
    text = "\n".join("é" * (n % 37) for n in range(200)) + "x" * 500
    path = tmp_path / "a.txt"
    path.write_text(text, "utf-8")
    found = list(read_documents(path))
    assert found == list(documents._pieces(text))
    assert len(found) > 30


def test_a_short_text_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo\n")
    assert list(read_documents(path)) == ["one\n\ntwo\n"]


def test_an_unknown_kind_of_file_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(TextNotFound, match=r"\.txt, \.jsonl, \.parquet, \.safetensors"):
        list(read_documents(tmp_path / "a.csv"))


def test_encoding_stops_when_there_are_enough_tokens(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "abc" * 100_000

    assert len(tokenizer.encode_up_to(5, endless())) == 5
    assert asked == 4  # the documents of one batch


@given(st.lists(st.text("abc", max_size=20), max_size=30), st.integers(1, 200))
def test_what_is_encoded_does_not_depend_on_batches(texts: list[str], enough: int) -> None:
    # Made here, since hypothesis and fixtures of a function's scope do not go together.
    tokenizer = load_tokenizer(Path(__file__).parents[2] / "core/models/shipped/kjv-dlm")
    whole = tokenizer.encode(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.calibration.text.BATCH", 7)
        found = tokenizer.encode_up_to(enough, iter(texts))
    assert found.tolist() == whole[:enough]


def test_how_far_a_text_is_read() -> None:
    assert tokens_to_read(4, 32) == READ_AT_LEAST
    assert tokens_to_read(1024, 4096) == 8 * 1024 * 4096


def test_no_more_of_a_file_is_read_than_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' * 3 + "not json\n")
    assert list(islice(read_documents(path), 3)) == ["one"] * 3
