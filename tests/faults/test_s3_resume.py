"""Going on with what a killed process had already sent; a wrong part never becomes part of an object."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.store.s3_options import MIN_PART
from tests.faults.s3_line import DATA, LARGE, Line

PIECES = [LARGE[at : at + MIN_PART] for at in range(0, len(LARGE), MIN_PART)]
DIGEST = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (made := tmp_path / "large").write_bytes(LARGE)
    return made


def begin(line: Line, key: str, parts: Mapping[int, bytes], digest: str = DIGEST) -> None:
    """What a killed process leaves behind: an upload with some parts."""
    client = line.direct._client
    place = {"Bucket": line.direct.options.bucket, "Key": f"{line.direct.options.prefix}/{key}"}
    upload = client.create_multipart_upload(**place, Metadata={"sha256": digest})["UploadId"]
    for number, data in parts.items():
        client.upload_part(**place, UploadId=upload, PartNumber=number, Body=data)


def sent(line: Line) -> int:
    """How many bodies went over the line."""
    return sum(seen.startswith("PUT") for seen in line.proxy.seen)


def assert_stored(line: Line, key: str = "large", data: bytes = LARGE) -> None:
    assert line.direct.read_bytes(key) == data
    held = line.direct._client.head_object(
        Bucket=line.direct.options.bucket, Key=f"{line.direct.options.prefix}/{key}"
    )
    assert held["Metadata"]["sha256"] == hashlib.sha256(data).hexdigest()
    late = datetime.now(UTC) + timedelta(days=1)
    assert line.direct.abort_uploads(key, timedelta(0), late) == 0


@pytest.mark.parametrize("there", [(1,), (2,), (1, 3), (1, 2, 3)])
def test_parts_that_are_there_are_not_sent_again(
    line: Line, source: Path, there: tuple[int, ...]
) -> None:
    begin(line, "large", {number: PIECES[number - 1] for number in there})
    line.far.put_file("large", source, resume=True)
    assert sent(line) == 3 - len(there)
    assert_stored(line)


@pytest.mark.parametrize(
    "parts",
    [
        {1: PIECES[1]},
        {1: PIECES[0], 2: PIECES[1][:-1] + b"!"},
        {1: PIECES[0], 2: PIECES[1] + b"!"},
        {1: PIECES[0], 4: b"more than the file has"},
        {},
    ],
    ids=["another", "one byte", "longer", "surplus", "none"],
)
def test_an_upload_with_another_part_is_given_up(
    line: Line, source: Path, parts: dict[int, bytes]
) -> None:
    begin(line, "large", parts)
    line.far.put_file("large", source, resume=True)
    assert sent(line) == 3
    assert_stored(line)


def test_an_upload_that_was_begun_for_another_file_is_given_up(line: Line, source: Path) -> None:
    """Its first part is the same; what it was begun with shows only at its end."""
    begin(line, "large", {1: PIECES[0]}, digest="0" * 64)
    line.far.put_file("large", source, resume=True)
    assert sent(line) == 2 + 3
    assert_stored(line)


def test_the_upload_with_the_most_parts_is_taken(line: Line, source: Path) -> None:
    begin(line, "large", {1: PIECES[0]})
    begin(line, "large", {1: PIECES[0], 2: PIECES[1]})
    begin(line, "large", {1: PIECES[1], 2: PIECES[1], 3: PIECES[2]})
    line.far.put_file("large", source, resume=True)
    assert sent(line) == 1
    assert_stored(line)


def test_another_key_s_upload_is_left_alone(line: Line, source: Path) -> None:
    begin(line, "large.other", {1: PIECES[0]})
    line.far.put_file("large", source, resume=True)
    assert sent(line) == 3
    late = datetime.now(UTC) + timedelta(days=1)
    assert line.direct.abort_uploads("large.other", timedelta(0), late) == 1


@pytest.mark.parametrize("data", [DATA, LARGE, b""], ids=["small", "large", "empty"])
def test_an_object_that_is_there_is_not_sent_again(line: Line, tmp_path: Path, data: bytes) -> None:
    (source := tmp_path / "file").write_bytes(data)
    line.direct.put_file("k", source)
    begin(line, "k", {1: PIECES[0]})
    line.far.put_file("k", source, resume=True)
    assert sent(line) == 0
    assert_stored(line, "k", data)


def test_an_object_that_differs_is_replaced(line: Line, source: Path) -> None:
    line.direct.put_file("large", source)
    source.write_bytes(changed := LARGE[:-1] + b"!")
    line.far.put_file("large", source, resume=True)
    assert_stored(line, data=changed)


def test_nobody_is_asked_for_leftovers_unless_there_may_be_some(line: Line, source: Path) -> None:
    line.far.put_file("large", source)
    assert [seen.split(" ")[0] for seen in line.proxy.seen] == [
        "POST", "PUT", "PUT", "PUT", "POST", "HEAD",
    ]  # fmt: skip
