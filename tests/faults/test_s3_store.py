"""The S3 store over lines that break and against stores that refuse. A wrong byte is always noticed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from core.errors import (
    ArtifactNotFound,
    CorruptObject,
    DiskFull,
    SecateurError,
    StoreUnavailable,
)
from core.settings import Settings
from core.store.s3 import S3Store
from core.store.s3_client import connect
from core.store.s3_options import S3Options
from core.store.s3_upload import Uploader
from secateur.cli._checkup import Finding, checkup
from tests.buckets import KEYS_A_PAGE, new_bucket
from tests.faulty_proxy import Fault, FaultyProxy, Kind, faulty_proxy

DATA = random.Random(7).randbytes(700_000)
LARGE = random.Random(8).randbytes(11_000_000)  # three parts
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Line:
    """One bucket, reached straight and through a proxy that breaks things."""

    direct: S3Store
    far: S3Store
    proxy: FaultyProxy

    def with_options(self, **options: Any) -> S3Store:
        return S3Store(replace(self.far.options, **options))

    def ending(self, key: str) -> str:
        """How the request begins that joins the parts of `key`."""
        return f"POST /{self.far.options.bucket}/{self.far.options.prefix}/{key}?uploadId"


@pytest.fixture(scope="module")
def bucket(s3: str) -> S3Options:
    return new_bucket(s3)


@pytest.fixture
def line(s3: str, bucket: S3Options, tmp_path: Path) -> Iterator[Line]:
    near = replace(bucket, prefix=tmp_path.name)
    with faulty_proxy(s3) as proxy:
        yield Line(S3Store(near), S3Store(replace(near, endpoint=proxy.url, attempts=2)), proxy)


def test_without_faults_everything_passes(line: Line) -> None:
    line.far.put_bytes("k", DATA)
    assert line.far.read_bytes("k") == DATA
    line.far.check()


def test_lists_and_deletes_take_as_many_pages_as_there_are(line: Line) -> None:
    keys = [f"jobs/a/{number}" for number in range(2 * KEYS_A_PAGE + 1)]
    for key in [*keys, "jobs/b"]:
        line.direct.put_bytes(key, b"x")
    assert [found.key for found in line.far.list("jobs/a")] == keys
    assert [seen[:3] for seen in line.proxy.seen] == ["GET"] * 3
    assert line.far.delete_prefix("jobs/a") == len(keys)
    assert [found.key for found in line.far.list("")] == ["jobs/b"]


def test_a_whole_bucket_is_a_store_too(s3: str) -> None:
    store = S3Store(new_bucket(s3))
    store.check()
    store.put_bytes("a/b", b"x")
    assert [found.key for found in store.list("a")] == ["a/b"]
    assert store.delete_prefix("a") == 1


def test_the_doctor_looks_at_the_bucket(s3: str, bucket: S3Options) -> None:
    def finding(name: str) -> Finding:
        settings = Settings(store_url=f"s3://{name}/prefix?endpoint={s3}")
        return next(f for f in checkup(settings, "http://127.0.0.1:1") if f.name == "store")

    assert finding(bucket.bucket).status == "ok"
    broken = finding("no-such-bucket")
    assert broken.status == "broken"
    assert "NoSuchBucket" in broken.detail
    assert "Create the bucket" in broken.remedy


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


class TestUploads:
    @pytest.mark.parametrize("answer", [(500, "InternalError"), (503, "SlowDown")])
    def test_busy_stores_are_asked_again(self, line: Line, answer: tuple[int, str]) -> None:
        line.proxy.fault = Fault("answer", "PUT", status=answer[0], code=answer[1])
        line.far.put_bytes("k", DATA)
        assert line.direct.read_bytes("k") == DATA
        assert line.proxy.fault.times == 0

    def test_a_part_whose_line_broke_is_sent_again(self, line: Line, tmp_path: Path) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        line.proxy.fault = Fault("cut-request", "PUT", at=2_000_000)
        line.far.put_file("large", source)
        assert line.direct.read_bytes("large") == LARGE
        assert line.proxy.fault.times == 0

    @pytest.mark.parametrize("large", [False, True])
    def test_a_byte_that_went_wrong_on_its_way_is_noticed(
        self, line: Line, tmp_path: Path, large: bool
    ) -> None:
        """This server takes bodies that differ from their signature; then reading notices."""
        (source := tmp_path / "file").write_bytes(LARGE if large else DATA)
        line.proxy.fault = Fault("flip-request", "PUT", at=500_000)
        line.far.put_file("k", source)
        assert line.proxy.fault.times == 0
        with pytest.raises(CorruptObject):
            line.direct.read_bytes("k")

    @pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
    def test_every_body_is_signed(self, bucket: S3Options, checksums: str) -> None:
        """So that a server which does check refuses a damaged one; over TLS this is no default."""
        options = replace(bucket, endpoint="https://127.0.0.1:1", attempts=1, checksums=checksums)
        signed: list[bytes] = []
        client = connect(options, options.endpoint)
        client.meta.events.register(
            "before-send.s3",
            lambda request, **_: signed.append(request.headers["x-amz-content-sha256"]),
        )
        uploader = Uploader(client, options, "k")
        with pytest.raises(EndpointConnectionError):
            uploader.put(DATA)
        assert signed == [hashlib.sha256(DATA).hexdigest().encode()]

    @pytest.mark.parametrize("told", ["success", "NoSuchUpload"])
    def test_that_end_with_a_lost_answer_have_ended(
        self, line: Line, tmp_path: Path, told: str
    ) -> None:
        """Asked again, some stores repeat their answer, and some have forgotten the upload."""
        (source := tmp_path / "large").write_bytes(LARGE)
        forgot = Fault("answer", line.ending("large"), status=404, code="NoSuchUpload")
        line.proxy.fault = Fault("reset", line.ending("large"))
        line.proxy.fault.then = forgot if told == "NoSuchUpload" else None
        line.far.put_file("large", source)
        assert sum(seen.startswith(line.ending("large")) for seen in line.proxy.seen) == 2
        assert line.direct.read_bytes("large") == LARGE

    def test_that_were_taken_away_have_not_ended(self, line: Line, tmp_path: Path) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        line.direct.put_bytes("large", b"an older version")
        line.proxy.fault = Fault("answer", line.ending("large"), status=404, code="NoSuchUpload")
        with pytest.raises(StoreUnavailable, match="NoSuchUpload"):
            line.far.put_file("large", source)
        assert line.direct.read_bytes("large") == b"an older version"

    def test_into_a_deleted_folder_fail(
        self, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        client = line.far._client
        complete = client.complete_multipart_upload

        def delete_and_complete(**given: object) -> object:
            line.direct.delete_prefix("jobs/a")
            return complete(**given)

        monkeypatch.setattr(client, "complete_multipart_upload", delete_and_complete)
        with pytest.raises(StoreUnavailable):
            line.far.put_file("jobs/a/k", source)
        assert list(line.direct.list("")) == []

    def test_that_die_leave_no_object(self, line: Line, tmp_path: Path) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        line.direct.put_bytes("jobs/a/small", b"x")
        line.proxy.fault = Fault("cut-request", "PUT", at=2_000_000, times=99)
        with pytest.raises(StoreUnavailable):
            line.far.put_file("jobs/a/large", source)
        assert [found.key for found in line.direct.list("")] == ["jobs/a/small"]
        # This process lived, and took its parts away itself.
        assert line.direct.abort_uploads("", timedelta(0), NOW) == 0

    def test_of_killed_processes_are_removed_when_old(self, line: Line, tmp_path: Path) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        line.proxy.fault = Fault("stall", "PUT", times=99)
        _kill_while_putting(line, source)
        assert list(line.direct.list("")) == []
        assert line.direct.abort_uploads("jobs/b", timedelta(0), NOW) == 0
        long_ago = datetime(1990, 1, 1, tzinfo=UTC)
        assert line.direct.abort_uploads("jobs/a", timedelta(0), long_ago) == 0
        assert line.direct.abort_uploads("jobs/a", timedelta(hours=1), NOW) == 1
        assert line.direct.abort_uploads("", timedelta(0), NOW) == 0

    def test_of_killed_processes_go_with_their_folder(self, line: Line, tmp_path: Path) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        line.proxy.fault = Fault("stall", "PUT", times=99)
        _kill_while_putting(line, source)
        assert line.direct.delete_prefix("jobs/a") == 0
        assert line.direct.abort_uploads("", timedelta(0), NOW) == 0

    def test_a_file_that_changes_meanwhile_is_not_stored(
        self, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        client = line.direct._client
        create = client.create_multipart_upload

        def change_and_create(**given: object) -> object:
            with source.open("r+b") as file:
                file.seek(9_000_000)
                file.write(b"changed")
            return create(**given)

        monkeypatch.setattr(client, "create_multipart_upload", change_and_create)
        with pytest.raises(CorruptObject, match="changed while"):
            line.direct.put_file("k", source)
        assert list(line.direct.list("")) == []


_PUT = """
import sys
from pathlib import Path
from core.store.urls import open_store
open_store(sys.argv[1]).put_file("jobs/a/large", Path(sys.argv[2]))
"""


def _kill_while_putting(line: Line, source: Path) -> None:
    """Another process puts `source` and is killed when it has begun to send parts."""
    far = line.far.options
    url = f"s3://{far.bucket}/{far.prefix}?endpoint={far.endpoint}&part_size=5242880&threads=1"
    with subprocess.Popen([sys.executable, "-c", _PUT, url, str(source)]) as process:
        while not any(seen.startswith("PUT") for seen in line.proxy.seen):
            assert process.poll() is None
            line.proxy.closing.wait(0.02)
        os.kill(process.pid, signal.SIGKILL)


REFUSALS: list[tuple[int, str, type[SecateurError], str]] = [
    (403, "ExpiredToken", StoreUnavailable, "expired"),
    (403, "InvalidAccessKeyId", StoreUnavailable, "AWS_ACCESS_KEY_ID"),
    (403, "SignatureDoesNotMatch", StoreUnavailable, "AWS_SECRET_ACCESS_KEY"),
    (403, "AccessDenied", StoreUnavailable, "may read and write"),
    (403, "RequestTimeTooSkewed", StoreUnavailable, "clock"),
    (503, "SlowDown", StoreUnavailable, "later"),
    (507, "InsufficientStorage", DiskFull, "Enlarge"),
    (400, "XAmzContentSHA256Mismatch", CorruptObject, "again"),
    (418, "Teapot", StoreUnavailable, "documentation"),
]


class TestRefusals:
    @pytest.mark.parametrize(("status", "code", "kind", "remedy"), REFUSALS)
    def test_have_a_name_and_a_remedy(
        self, line: Line, status: int, code: str, kind: type[SecateurError], remedy: str
    ) -> None:
        acts: dict[str, Callable[[], object]] = {
            "PUT": lambda: line.far.put_bytes("k", b"x"),
            "GET": lambda: line.far.read_bytes("k"),
        }
        for method, act in acts.items():
            line.proxy.fault = Fault("answer", method, times=99, status=status, code=code)
            with pytest.raises(kind, match=code) as caught:
                act()
            assert remedy in caught.value.remedy
            assert type(caught.value) is kind

    def test_a_missing_bucket_is_no_missing_artifact(self, line: Line) -> None:
        gone = S3Store(replace(line.direct.options, bucket="no-such-bucket"))
        acts: list[Callable[[], object]] = [
            lambda: gone.put_bytes("k", b"x"),
            lambda: gone.read_bytes("k"),
            lambda: gone.info("k"),
            lambda: list(gone.list("")),
            lambda: gone.delete_prefix("k"),
            gone.check,
        ]
        for act in acts:
            with pytest.raises(StoreUnavailable, match="NoSuchBucket") as caught:
                act()
            assert "bucket" in caught.value.remedy
        with pytest.raises(ArtifactNotFound):
            line.direct.info("k")

    def test_no_credentials(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(StoreUnavailable) as caught:
            S3Store(line.direct.options).check()
        assert "AWS_ACCESS_KEY_ID" in caught.value.remedy

    def test_nobody_listens(self, bucket: S3Options) -> None:
        nowhere = S3Store(replace(bucket, endpoint="http://127.0.0.1:1", attempts=1))
        with pytest.raises(StoreUnavailable, match="127") as caught:
            nowhere.check()
        assert "endpoint" in caught.value.remedy

    def test_silence_does_not_last(self, line: Line) -> None:
        line.proxy.fault = Fault("stall", "PUT", times=99)
        with pytest.raises(StoreUnavailable, match="127"):
            line.with_options(timeout=0.2, attempts=1).put_bytes("k", b"x")
