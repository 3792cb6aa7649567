"""What `prepare` promises of every object store: afterwards there is one."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from core.store.base import ObjectStore
from core.store.local import LocalStore
from core.store.s3 import S3Store
from tests.buckets import new_bucket
from tests.faulty_proxy import Fault, faulty_proxy

Absent = Callable[[], ObjectStore]


def _no_folder(_: pytest.FixtureRequest, folder: Path) -> Absent:
    return lambda: LocalStore(folder / "not" / "there")


def _no_bucket(region: str | None) -> Callable[[pytest.FixtureRequest, Path], Absent]:
    def absent(request: pytest.FixtureRequest, folder: Path) -> Absent:
        server: str = request.getfixturevalue("s3")
        there = new_bucket(server)
        options = replace(there, bucket=f"{there.bucket}-missing", region=region, prefix="a/b")
        return lambda: S3Store(options)

    return absent


@pytest.fixture(
    params=[_no_folder, _no_bucket(None), _no_bucket("eu-central-1")],
    ids=["local", "s3", "s3-in-a-region"],
)
def absent(request: pytest.FixtureRequest, tmp_path: Path) -> Absent:
    """Opens a store that nobody has made."""
    made: Absent = request.param(request, tmp_path)
    return made


def test_a_prepared_store_can_be_used_and_prepared_again(absent: Absent) -> None:
    absent().prepare()
    absent().check()
    absent().put_bytes("k", b"kept")
    absent().prepare()
    assert absent().read_bytes("k") == b"kept"


def test_many_may_prepare_at_once(absent: Absent) -> None:
    ready, failed = threading.Barrier(4), list[BaseException]()

    def prepare() -> None:
        store = absent()
        ready.wait()
        try:
            store.prepare()
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            failed.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    absent().check()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="cannot make the store at"):
        LocalStore(tmp_path / "file" / "store").prepare()


@pytest.mark.parametrize(
    ("request_line", "said", "asked"),
    [("HEAD", "cannot use", ["HEAD"]), ("PUT", "cannot create", ["HEAD", "PUT"])],
)
def test_a_bucket_that_may_not_be_seen_or_made_is_named(
    s3: str, request_line: str, said: str, asked: list[str]
) -> None:
    missing = replace(new_bucket(s3), bucket="nobody-may-have-it")
    with faulty_proxy(s3) as proxy:
        proxy.fault = Fault("answer", request_line, times=9, status=403, code="AccessDenied")
        with pytest.raises(StoreUnavailable, match=said) as refused:
            S3Store(replace(missing, endpoint=proxy.url)).prepare()
        assert "AWS_ACCESS_KEY_ID" in refused.value.remedy
        assert [line.split()[0] for line in proxy.seen] == asked
