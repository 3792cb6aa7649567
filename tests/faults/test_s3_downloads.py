"""Reading objects over lines that break. A wrong byte is always noticed."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from core.errors import (
    CorruptObject,
    StoreUnavailable,
)
from core.store.s3 import S3Store
from core.store.s3_download import Downloader
from tests.faults.s3_line import DATA, LARGE, Line
from tests.faulty_proxy import Fault, Kind


class TestDownloads:
    @pytest.mark.parametrize("kind", ["reset", "end", "stall"])
    @pytest.mark.parametrize("at", [0, 1, 300_000, len(DATA) - 1])
    @pytest.mark.parametrize("start", [0, 5])
    def test_that_break_go_on(self, line: Line, kind: Kind, at: int, start: int) -> None:
        line.direct.put_bytes("k", DATA)
        line.proxy.fault = Fault(kind, at=min(at, len(DATA) - start - 1))
        with line.with_options(timeout=0.3).open("k", start) as reader:
            assert reader.read() == DATA[start:]
        assert line.proxy.fault.times == 0
        assert len(line.proxy.seen) == 2

    @pytest.mark.parametrize("kind", ["reset", "end", "stall"])
    def test_that_break_again_and_again_end(self, line: Line, kind: Kind) -> None:
        line.direct.put_bytes("k", DATA)
        line.proxy.fault = Fault(kind, at=100_000, times=99)
        # Three times 100,000 bytes came, and of each at most one piece of 65,536 was lost.
        with pytest.raises(StoreUnavailable, match=r"at byte [123]\d{5} of 700000") as caught:
            line.with_options(timeout=0.3).read_bytes("k")
        assert "timeout" in caught.value.remedy
        assert len(line.proxy.seen) == 3

    @pytest.mark.parametrize("at", [0, 350_000, len(DATA) - 1])
    @pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
    def test_a_wrong_byte_is_noticed(self, line: Line, at: int, checksums: str) -> None:
        S3Store(replace(line.direct.options, checksums=checksums)).put_bytes("k", DATA)
        line.proxy.fault = Fault("flip", at=at)
        with pytest.raises(CorruptObject, match="'k'"):
            line.with_options(checksums=checksums).read_bytes("k")
        assert line.far.read_bytes("k") == DATA

    def test_a_wrong_byte_is_noticed_before_the_last_piece(self, line: Line) -> None:
        line.direct.put_bytes("k", DATA)
        line.proxy.fault = Fault("flip", at=3)
        with line.far.open("k") as reader:
            for _ in range(8):
                reader.read(50_000)
            with pytest.raises(CorruptObject):
                reader.read()

    def test_a_wrong_byte_is_noticed_after_a_break_too(self, line: Line) -> None:
        line.direct.put_bytes("k", DATA)
        line.proxy.fault = Fault("reset", at=400_000, then=Fault("flip", at=10))
        with pytest.raises(CorruptObject):
            line.far.read_bytes("k")
        assert len(line.proxy.seen) == 2

    def test_another_version_never_continues_this_one(self, line: Line) -> None:
        line.direct.put_bytes("k", DATA)
        line.proxy.fault = Fault("stall", at=1000)
        reader = line.with_options(timeout=0.3).open("k")
        line.direct.put_bytes("k", bytes(reversed(DATA)))
        with reader, pytest.raises(StoreUnavailable, match="read again"):
            reader.read()

    def test_an_object_damaged_in_the_store_is_noticed(self, line: Line) -> None:
        line.direct.put_bytes("k", DATA)
        client, full = line.direct._client, f"{line.direct.options.prefix}/k"
        held = client.head_object(Bucket=line.direct.options.bucket, Key=full)
        client.put_object(
            Bucket=line.direct.options.bucket,
            Key=full,
            Body=DATA[:-1],
            Metadata=held["Metadata"],
        )
        with pytest.raises(CorruptObject):
            line.direct.read_bytes("k")


class TestFiles:
    @pytest.mark.parametrize("kind", ["reset", "end", "stall"])
    def test_ranges_that_break_go_on(self, line: Line, tmp_path: Path, kind: Kind) -> None:
        line.direct.put_bytes("large", LARGE)
        line.proxy.fault = Fault(kind, at=1_000_000, times=2)
        # Short only where a stall is to be noticed: a busy server needs no further ranges.
        line.with_options(timeout=2 if kind == "stall" else 30).get_file("large", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == LARGE
        first, *ranges = [seen[:3] for seen in line.proxy.seen]
        assert (first, set(ranges)) == ("HEA", {"GET"})
        assert len(ranges) == 4 or (kind == "stall" and len(ranges) > 4)

    def test_a_wrong_byte_is_noticed(self, line: Line, tmp_path: Path) -> None:
        line.direct.put_bytes("large", LARGE)
        line.proxy.fault = Fault("flip", at=1_000_000)
        with pytest.raises(CorruptObject, match="'large'"):
            line.far.get_file("large", tmp_path / "file")

    def test_versions_are_never_mixed(self, line: Line, tmp_path: Path) -> None:
        line.direct.put_bytes("large", LARGE)
        held = line.direct._head("large")
        line.direct.put_bytes("large", bytes(reversed(LARGE)))
        get = partial(line.direct._get, f"{line.direct.options.prefix}/large", "large")
        with (
            (tmp_path / "file").open("wb") as file,
            pytest.raises(StoreUnavailable, match="read again"),
        ):
            Downloader(get, line.direct.options, "large", held).write(file)
