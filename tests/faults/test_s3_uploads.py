"""Putting objects over lines that break: whole, or not at all, and a wrong byte is noticed."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from core.errors import (
    CorruptObject,
    StoreUnavailable,
)
from core.store.s3_client import connect
from core.store.s3_options import S3Options
from core.store.s3_upload import Uploader
from tests.faults.s3_line import DATA, LARGE, Line
from tests.faulty_proxy import Fault

NOW = datetime.now(UTC)


def before(
    monkeypatch: pytest.MonkeyPatch, client: Any, method: str, act: Callable[[], object]
) -> None:
    """Let `act` happen whenever `client` is about to call `method`."""
    call = getattr(client, method)

    def act_and_call(**given: object) -> object:
        act()
        return call(**given)

    monkeypatch.setattr(client, method, act_and_call)


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
        """By the server, which holds the body against its signature, or else when it is read."""
        (source := tmp_path / "file").write_bytes(LARGE if large else DATA)
        line.proxy.fault = Fault("flip-request", "PUT", at=500_000)

        def put_and_read() -> None:
            line.far.put_file("k", source)
            line.direct.read_bytes("k")

        with pytest.raises(CorruptObject):
            put_and_read()
        assert line.proxy.fault.times == 0

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
        before(
            monkeypatch,
            line.far._client,
            "complete_multipart_upload",
            lambda: line.direct.delete_prefix("jobs/a"),
        )
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
        later = NOW + timedelta(hours=2)
        assert line.direct.abort_uploads("jobs/a", timedelta(hours=1), later) == 1
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
        before(
            monkeypatch,
            line.direct._client,
            "create_multipart_upload",
            lambda: source.write_bytes(LARGE[:-1] + b"!"),
        )
        with pytest.raises(CorruptObject, match="changed before or while"):
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
