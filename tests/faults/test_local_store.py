"""The local store when the disk is full, read-only or gone, and when its writer is killed."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.errors import ArtifactNotFound, DiskFull, StoreUnavailable
from core.store.local import LocalStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "secateur-test", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no mount program: {error}")
    if mounted.returncode:
        pytest.skip(f"this user may not mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class TestFullDisk:
    def test_is_named_and_leaves_the_old_version(self, small_disk: Path) -> None:
        store = LocalStore(small_disk / "store")
        store.put_bytes("k", b"old")
        with pytest.raises(DiskFull, match=r"no room left .* Free space") as caught:
            store.put_bytes("k", b"x" * 2_000_000)
        assert caught.value.remedy
        assert store.read_bytes("k") == b"old"
        assert [path.name for path in _files(small_disk)] == ["k"]

    def test_gives_its_room_back(self, small_disk: Path, tmp_path: Path) -> None:
        source = tmp_path / "big"
        source.write_bytes(b"x" * 2_000_000)
        store = LocalStore(small_disk / "store")
        for _ in range(3):
            with pytest.raises(DiskFull):
                store.put_file("jobs/a/1/model.safetensors", source)
        store.put_bytes("jobs/a/1/small", b"y" * 900_000)
        assert [i.key for i in store.list("")] == ["jobs/a/1/small"]

    def test_fails_the_check(self, small_disk: Path) -> None:
        store = LocalStore(small_disk / "store")
        store.check()
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(DiskFull):
            store.check()


class TestUnusableRoot:
    def test_read_only(self, small_disk: Path) -> None:
        store = LocalStore(small_disk / "store")
        store.put_bytes("k", b"old")
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        with pytest.raises(StoreUnavailable, match="Read-only"):
            store.put_bytes("k", b"new")
        with pytest.raises(StoreUnavailable, match="Read-only"):
            store.check()
        assert store.read_bytes("k") == b"old"

    def test_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("not a folder")
        store = LocalStore(tmp_path / "store")
        with pytest.raises(StoreUnavailable, match="Check that the folder exists"):
            store.put_bytes("k", b"x")
        with pytest.raises(StoreUnavailable):
            store.check()

    def test_without_permission(self, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may write anywhere")
        (tmp_path / "store").mkdir(mode=0o500)
        with pytest.raises(StoreUnavailable, match="Permission denied"):
            LocalStore(tmp_path / "store").put_bytes("k", b"x")

    def test_an_object_named_like_a_folder(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "store")
        store.put_bytes("a", b"x")
        with pytest.raises(StoreUnavailable):
            store.put_bytes("a/b", b"x")
        store.put_bytes("c/d", b"x")
        with pytest.raises(StoreUnavailable):
            store.put_bytes("c", b"x")
        assert [i.key for i in store.list("")] == ["a", "c/d"]


class TestLinks:
    """A link inside the store must lead nowhere, whoever put it there."""

    def test_to_a_folder_outside(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "store")
        store.put_bytes("jobs/a", b"x")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret").write_text("s")
        (tmp_path / "store" / "objects" / "jobs" / "link").symlink_to(tmp_path / "outside")
        for key in ("jobs/link/secret", "jobs/link/new", "jobs/link"):
            with pytest.raises(ValueError, match="symbolic link"):
                store.put_bytes(key, b"x")
            with pytest.raises(ValueError, match="symbolic link"):
                store.read_bytes(key)
            with pytest.raises(ValueError, match="symbolic link"):
                store.delete_prefix(key)
        assert [i.key for i in store.list("")] == ["jobs/a"]
        store.delete_prefix("jobs")
        assert [p.name for p in _files(tmp_path / "outside")] == ["secret"]

    def test_to_itself(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "store")
        store.put_bytes("a", b"x")
        loop = tmp_path / "store" / "objects" / "loop"
        loop.symlink_to(loop)
        with pytest.raises(ArtifactNotFound):
            store.read_bytes("loop")
        assert [i.key for i in store.list("")] == ["a"]

    def test_the_root_may_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        LocalStore(tmp_path / "link").put_bytes("a/b", b"x")
        assert LocalStore(tmp_path / "real").read_bytes("a/b") == b"x"


def test_files_are_private(tmp_path: Path) -> None:
    LocalStore(tmp_path / "new" / "store").put_bytes("jobs/a/1/k", b"x")
    modes = {
        path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")
    }
    assert modes == {True: 0o700, False: 0o600}


SLOW_WRITER = """
import os, pathlib, sys
from core.store.local import LocalStore
LocalStore(pathlib.Path(sys.argv[1])).put_file("jobs/a/1/shard", pathlib.Path(sys.argv[2]))
"""


def test_a_killed_writer_leaves_nothing_to_see_and_nothing_behind(tmp_path: Path) -> None:
    pipe = tmp_path / "endless"
    os.mkfifo(pipe)
    incoming = tmp_path / "store" / "incoming"
    with (
        subprocess.Popen(
            [sys.executable, "-c", SLOW_WRITER, str(tmp_path / "store"), str(pipe)], cwd=ROOT
        ) as writer,
        pipe.open("wb", buffering=0) as feed,
    ):
        feed.write(b"x" * 5_000_000)
        deadline = time.monotonic() + 60
        while not sum(p.stat().st_size for p in _files(incoming)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        other = LocalStore(tmp_path / "store")
        other.put_bytes("jobs/a/2/k", b"x")
        assert other.abort_uploads("", timedelta(0), datetime.now(UTC) + timedelta(days=9)) == 0
        assert [upload.key for upload in other.uploads("jobs/a/")] == ["jobs/a/1/shard"]
        assert len(_files(incoming)) == 1, "a file that is being written was removed"
        writer.kill()
        writer.wait()
    assert len(_files(incoming)) == 1
    with pytest.raises(ArtifactNotFound):
        other.info("jobs/a/1/shard")
    assert [i.key for i in other.list("")] == ["jobs/a/2/k"]
    LocalStore(tmp_path / "store").put_bytes("jobs/a/3/k", b"x")
    assert _files(incoming) == []
