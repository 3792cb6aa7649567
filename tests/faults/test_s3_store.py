"""The S3 store where nothing is wrong with the line, and where the store itself refuses."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.errors import (
    ArtifactNotFound,
    CorruptObject,
    DiskFull,
    SecateurError,
    StoreUnavailable,
)
from core.settings import Settings
from core.store.s3 import S3Store
from core.store.s3_options import S3Options
from secateur.cli._checkup import Finding, checkup
from tests.buckets import KEYS_A_PAGE, new_bucket
from tests.faults.s3_line import DATA, Line
from tests.faulty_proxy import Fault


def test_without_faults_everything_passes(line: Line) -> None:
    line.far.put_bytes("k", DATA)
    assert line.far.read_bytes("k") == DATA
    line.far.check()


def test_lists_and_deletes_take_as_many_pages_as_there_are(line: Line) -> None:
    keys = [f"jobs/a/{number}" for number in range(2 * KEYS_A_PAGE + 1)]
    for key in [*keys, "jobs/b"]:
        line.direct.put_bytes(key, b"x")
    assert [found.key for found in line.far.list("jobs/a")] == keys
    assert line.far.delete_prefix("jobs/a") == len(keys)
    assert [found.key for found in line.far.list("")] == ["jobs/b"]


def test_a_whole_bucket_is_a_store_too(server: str) -> None:
    store = S3Store(new_bucket(server))
    store.check()
    store.put_bytes("a/b", b"x")
    assert [found.key for found in store.list("a")] == ["a/b"]
    assert store.delete_prefix("a") == 1


def test_the_doctor_looks_at_the_bucket(server: str, bucket: S3Options) -> None:
    def finding(name: str) -> Finding:
        settings = Settings(store_url=f"s3://{name}/prefix?endpoint={server}")
        return next(f for f in checkup(settings, "http://127.0.0.1:1") if f.name == "store")

    assert finding(bucket.bucket).status == "ok"
    broken = finding("no-such-bucket")
    assert broken.status == "broken"
    assert "NoSuchBucket" in broken.detail
    assert "Create the bucket" in broken.remedy


def test_the_doctor_looks_at_the_buckets_of_sources(bucket: S3Options) -> None:
    S3Store(bucket).put_bytes("models/a", b"x")
    places = [
        f"s3://{name}?endpoint={bucket.endpoint}"
        for name in (f"{bucket.bucket}/models", "no-such-bucket")
    ]
    settings = Settings.model_validate({"source_buckets": places})
    ok, broken = (f for f in checkup(settings, "http://127.0.0.1:1") if f.name == "source bucket")
    assert (ok.status, ok.detail) == ("ok", places[0])
    assert broken.status == "broken"
    assert "no-such-bucket" in broken.detail


REFUSALS: list[tuple[int, str, type[SecateurError], str]] = [
    (400, "ExpiredToken", StoreUnavailable, "expired"),
    (403, "InvalidToken", StoreUnavailable, "AWS_SESSION_TOKEN"),
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

    def test_an_expired_token_is_named_where_the_answer_has_no_body(self, line: Line) -> None:
        line.proxy.fault = Fault("answer", "HEAD", times=99, status=400, code="ExpiredToken")
        with pytest.raises(StoreUnavailable, match="400") as caught:
            line.far.info("k")
        assert "expired" in caught.value.remedy

    @pytest.mark.parametrize("code", [code for status, code, _, _ in REFUSALS if status == 403])
    def test_that_will_not_change_are_not_tried_again(self, line: Line, code: str) -> None:
        line.proxy.fault = Fault("answer", "PUT", times=99, status=403, code=code)
        with pytest.raises(StoreUnavailable):
            line.with_options(attempts=9).put_bytes("k", b"x")
        assert len(line.proxy.seen) == 1

    def test_a_check_soon_gives_up(self, line: Line) -> None:
        line.proxy.fault = Fault("answer", "PUT", times=99)
        with pytest.raises(StoreUnavailable, match="SlowDown"):
            line.with_options(attempts=9).check()
        assert [seen[:3] for seen in line.proxy.seen] == ["PUT"] * 2

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
