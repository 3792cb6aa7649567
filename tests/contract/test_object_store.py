"""What every object store promises. Each implementation is one more entry of STORES."""

import hashlib
import io
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import ArtifactNotFound, BadRequest, CorruptObject, StoreUnavailable
from core.store.base import ObjectInfo, ObjectStore
from core.store.local import LocalStore
from core.store.s3 import S3Store
from core.store.urls import open_store
from tests.buckets import new_bucket

MakeStore = Callable[[Path], ObjectStore]
MakeServed = Callable[[pytest.FixtureRequest], MakeStore]
ANY_TIME = datetime.min  # noqa: DTZ901 - when an object was stored is not compared


def _local(_: pytest.FixtureRequest) -> MakeStore:
    return lambda folder: LocalStore(folder / "store")


def _local_by_url(_: pytest.FixtureRequest) -> MakeStore:
    return lambda folder: open_store((folder / "a store & 100% more #1").as_uri())


def _s3(server: str) -> MakeServed:
    """Every folder is a prefix in one bucket, so that stores must not see each other's objects."""

    def make(request: pytest.FixtureRequest) -> MakeStore:
        bucket = new_bucket(request.getfixturevalue(server))
        return lambda folder: S3Store(replace(bucket, prefix=f"a & b/{folder.as_posix()[1:]}"))

    return make


def _s3_by_url(server: str) -> MakeServed:
    """Like `_s3`; with parts, checksums and addresses as other options have them."""

    def make(request: pytest.FixtureRequest) -> MakeStore:
        url: str = request.getfixturevalue(server)
        bucket = new_bucket(url).bucket
        query = "part_size=5242880&threads=1&addressing=path&checksums=when_supported"
        query += f"&region=eu-central-1&sse=AES256&endpoint={url}"
        return lambda folder: open_store(f"s3://{bucket}/100%25%20{folder.name}?{query}")

    return make


STORES: dict[str, MakeServed] = {
    "local": _local,
    "local-by-url": _local_by_url,
    "moto": _s3("s3"),
    "moto-by-url": _s3_by_url("s3"),
    "seaweed": _s3("seaweed"),
    "seaweed-by-url": _s3_by_url("seaweed"),
}


@pytest.fixture(scope="module", params=STORES)
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """Opens the store that belongs to a folder; called again, it opens it as another process would."""
    return STORES[request.param](request)


@pytest.fixture
def store(make_store: MakeStore, tmp_path: Path) -> ObjectStore:
    return make_store(tmp_path)


PARTS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\\ufffe\uffff"),
    min_size=1,
    max_size=40,
).filter(lambda part: part not in (".", ".."))
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
# No key is a folder of another: a store in a file system cannot hold both, and jobs never ask.
OBJECTS = st.dictionaries(KEYS, st.binary(max_size=300), min_size=1, max_size=8).filter(
    lambda objects: not any(b.startswith(f"{a}/") for a in objects for b in objects)
)


def by_key(found: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    return sorted(found, key=attrgetter("key"))


BAD_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a/..",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    "a/" + "x" * 256,
    "a/" * 600 + "b",
    "\ud800",
    "a\uffff",
]


class TestReading:
    def test_when_it_was_put(self, store: ObjectStore) -> None:
        # Stores keep whole seconds.
        before = datetime.now(UTC) - timedelta(seconds=1.5)
        store.put_bytes("jobs/a/k", b"x")
        (listed,), found = store.list("jobs/"), store.info("jobs/a/k")
        for info in (listed, found):
            assert before <= info.modified <= datetime.now(UTC) + timedelta(seconds=1.5)

    def test_what_was_put(self, make_store: MakeStore, tmp_path: Path) -> None:
        make_store(tmp_path).put_bytes("jobs/a/1/manifest.json", b"{}")
        store = make_store(tmp_path)
        assert store.read_bytes("jobs/a/1/manifest.json") == b"{}"
        assert store.info("jobs/a/1/manifest.json") == ObjectInfo(
            "jobs/a/1/manifest.json", 2, ANY_TIME
        )

    def test_the_last_version(self, store: ObjectStore) -> None:
        store.put_bytes("k", b"a long first version")
        store.put_bytes("k", b"second")
        assert store.read_bytes("k") == b"second"
        assert list(store.list("")) == [ObjectInfo("k", 6, ANY_TIME)]

    def test_a_file_is_copied(self, store: ObjectStore, tmp_path: Path) -> None:
        source = tmp_path / "shard"
        source.write_bytes(before := os.urandom(9_000_001))
        store.put_file("model/shard", source)
        with source.open("r+b") as changed:
            changed.write(b"changed later, in place")
        assert store.read_bytes("model/shard") == before

    @pytest.mark.parametrize("size", [0, 1, 300_000, 8 << 20, 19_000_001])
    def test_into_a_file(self, store: ObjectStore, tmp_path: Path, size: int) -> None:
        store.put_bytes("k", data := os.urandom(size))
        (target := tmp_path / "target").write_bytes(b"what was there before" * 1000)
        store.get_file("k", target)
        assert target.read_bytes() == data
        with pytest.raises(ArtifactNotFound):
            store.get_file("absent", target)

    @pytest.mark.parametrize("size", [0, 10, 11_000_000])
    def test_a_file_is_put_only_with_the_digest_it_should_have(
        self, store: ObjectStore, tmp_path: Path, size: int
    ) -> None:
        (source := tmp_path / "file").write_bytes(data := os.urandom(size))
        store.put_file("k", source, sha256=hashlib.sha256(data).hexdigest())
        assert store.read_bytes("k") == data
        with pytest.raises(CorruptObject):
            store.put_file("other", source, sha256="0" * 64)
        assert [info.key for info in store.list("")] == ["k"]

    def test_a_missing_source_leaves_nothing(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put_file("k", tmp_path / "absent")
        assert list(store.list("")) == []

    @pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 10_000])
    def test_from_an_offset(self, store: ObjectStore, start: int) -> None:
        store.put_bytes("k", b"0123456789")
        with store.open("k", start) as reader:
            assert reader.read() == b"0123456789"[start:]

    def test_refuses_a_negative_offset(self, store: ObjectStore) -> None:
        store.put_bytes("k", b"0123456789")
        with pytest.raises(ValueError, match="start"):
            store.open("k", -1)

    @pytest.mark.parametrize("key", ["absent", "a/absent", "a", "a/b/below-an-object"])
    def test_what_is_not_there(self, store: ObjectStore, key: str) -> None:
        store.put_bytes("a/b", b"x")
        for read in (store.open, store.read_bytes, store.info):
            with pytest.raises(ArtifactNotFound, match=key):
                read(key)

    def test_pieces_of_any_size(self, store: ObjectStore) -> None:
        store.put_bytes("k", data := os.urandom(300_000))
        with store.open("k", 7) as reader:
            pieces = [reader.read(count) for count in (1, 0, 99_999, 150_000, 100_000, 5)]
        assert b"".join(pieces) == data[7:]
        assert [len(piece) for piece in pieces] == [1, 0, 99_999, 150_000, 49_993, 0]

    def test_an_open_reader_keeps_its_version(self, store: ObjectStore) -> None:
        store.put_bytes("k", b"old")
        with store.open("k") as reader:
            store.put_bytes("k", b"new")
            assert reader.read() == b"old"
        assert store.read_bytes("k") == b"new"


class TestKeys:
    @pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
    def test_that_leave_the_store_are_refused(
        self, store: ObjectStore, tmp_path: Path, key: str
    ) -> None:
        source = tmp_path / "source"
        source.touch()
        refused: list[Callable[[], object]] = [
            lambda: store.put_bytes(key, b"x"),
            lambda: store.put_file(key, source),
            lambda: store.open(key),
            lambda: store.read_bytes(key),
            lambda: store.info(key),
            lambda: store.presign(key, "name", 60),
            lambda: store.delete_prefix(f"{key}/"),
        ]
        if key:  # the empty prefix means everything
            refused.append(lambda: store.list(f"{key}/"))
        for call in refused:
            with pytest.raises(ValueError, match="bad object key"):
                call()
        assert list(store.list("")) == []

    @settings(max_examples=25, deadline=None)
    @given(objects=OBJECTS, data=st.data())
    def test_are_a_mapping(
        self, make_store: MakeStore, objects: dict[str, bytes], data: st.DataObject
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder))
            for key, value in objects.items():
                store.put_bytes(key, value)
            expected = [ObjectInfo(key, len(objects[key]), ANY_TIME) for key in sorted(objects)]
            assert by_key(store.list("")) == expected
            assert {key: store.read_bytes(key) for key in objects} == objects
            key = data.draw(st.sampled_from(sorted(objects)))
            prefix = key[: data.draw(st.integers(1, len(key)))]
            assume(prefix.rstrip("/").split("/")[-1] not in (".", ".."))
            assert by_key(store.list(prefix)) == [i for i in expected if i.key.startswith(prefix)]

    @settings(max_examples=25, deadline=None)
    @given(objects=OBJECTS, data=st.data())
    def test_below_a_prefix_are_deleted_and_no_others(
        self, make_store: MakeStore, objects: dict[str, bytes], data: st.DataObject
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder))
            for key, value in objects.items():
                store.put_bytes(key, value)
            parts = data.draw(st.sampled_from(sorted(objects))).split("/")
            prefix = "/".join(parts[: data.draw(st.integers(1, len(parts)))])
            doomed = {key for key in objects if key.startswith(f"{prefix}/")}
            assert store.delete_prefix(prefix) == len(doomed)
            assert [i.key for i in by_key(store.list(""))] == sorted(objects.keys() - doomed)
            assert store.delete_prefix(prefix) == 0

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        assert list(store.list("")) == []
        assert list(store.list("jobs/")) == []
        assert store.delete_prefix("jobs") == 0


def test_a_presigned_url_gives_the_object_to_anyone(store: ObjectStore) -> None:
    store.put_bytes("a/k ü", b"0123456789")
    url = store.presign("a/k ü", "k ü.bin", 60)
    if url is None:
        assert isinstance(store, LocalStore)
        return
    answer = httpx.get(url, headers={"Range": "bytes=2-3"}, trust_env=False)
    assert answer.content == b"23"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''k%20%C3%BC.bin"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_check_leaves_no_object(store: ObjectStore) -> None:
    store.check()
    assert list(store.list("")) == []


def _keep_writing(
    make_store: MakeStore, folder: Path, byte: bytes, forgiven: tuple[type[Exception], ...]
) -> None:
    """For two seconds put values of one repeated byte, whose length tells which byte it must be."""
    store, until = make_store(folder), time.monotonic() + 2
    while time.monotonic() < until:
        with suppress(*forgiven):
            store.put_bytes("contested/key", byte * (300_000 + byte[0]))
            if byte == b"d":
                store.delete_prefix("contested")


def test_concurrent_writers_never_show_half_an_object(
    make_store: MakeStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Four processes write different values to one key, and one of them also deletes it."""
    # Now and then moto fails at that with 500, and even then nobody may read half an object.
    forgiven = (StoreUnavailable,) if "moto" in request.node.name else ()
    fork = multiprocessing.get_context("fork")  # a store need not be picklable
    writers = [
        fork.Process(target=_keep_writing, args=(make_store, tmp_path, bytes([byte]), forgiven))
        for byte in b"abcd"
    ]
    for writer in writers:
        writer.start()
    store, seen = make_store(tmp_path), set()
    deadline = time.monotonic() + 120
    while any(writer.is_alive() for writer in writers):
        assert time.monotonic() < deadline
        try:
            value = store.read_bytes("contested/key")
        except ArtifactNotFound:
            continue
        assert len(value) == 300_000 + value[0]
        assert value == value[:1] * len(value)
        seen.add(value[:1])
        assert {i.key for i in store.list("")} <= {"contested/key"}
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert len(seen) > 1


class _Fatal(io.FileIO):
    """A file whose reader is killed once its upload has begun and taken something."""

    def __init__(self, path: Path, begun: Callable[[], bool]) -> None:
        super().__init__(path)
        self._begun, self._seen = begun, 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._seen += self._begun()
        if self._seen > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(size)


def _die_while_putting(make_store: MakeStore, folder: Path, key: str) -> None:
    class Source(type(folder)):  # type: ignore[misc]
        def open(self, *_: object) -> _Fatal:
            return _Fatal(self, lambda: any(make_store(folder).uploads("")))

    make_store(folder).put_file(key, Source(folder / "shard"))


def test_uploads_of_dead_writers_are_found_and_removed(
    make_store: MakeStore, tmp_path: Path
) -> None:
    (tmp_path / "shard").write_bytes(bytes(16_000_000))
    fork = multiprocessing.get_context("fork")
    writer = fork.Process(target=_die_while_putting, args=(make_store, tmp_path, "jobs/é %/1/k"))
    writer.start()
    writer.join(120)
    assert writer.exitcode == -signal.SIGKILL
    store = make_store(tmp_path)
    (found,) = store.uploads("jobs/é %/1/")
    assert found.key == "jobs/é %/1/k"
    # Relative to what the store says: moto gives all uploads one date.
    later = found.begun + timedelta(minutes=30)
    assert list(store.uploads("jobs/f")) == []
    assert store.abort_uploads("jobs/f", timedelta(0), later) == 0
    assert store.abort_uploads("jobs/é %/1/", timedelta(hours=1), later) == 0
    assert store.abort_uploads("jobs/é %/1/", timedelta(minutes=29), later) == 1
    assert list(store.uploads("")) == []
    assert list(store.list("")) == []


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        ["", "/folder", "file:folder", "file://host/folder", "file:///a?b", "file:///a#b",
         "file:///a%00b", "http://host/", "sqlite:///x"],
    )  # fmt: skip
    def test_that_name_no_folder_are_refused(self, url: str) -> None:
        with pytest.raises(BadRequest, match="SECATEUR_STORE_URL"):
            open_store(url)
