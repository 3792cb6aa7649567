"""What a bucket may hold and a worker refuses, before anything large is fetched."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import (
    BadRequest,
    BrokenCheckpoint,
    DiskFull,
    ModelNotFound,
    SecateurError,
    SourceRefused,
    TextNotFound,
    UnsafeModel,
)
from core.s3_objects import Listed, Objects
from core.store.s3_options import S3Options
from secateur.cli import main
from tests.buckets import new_bucket
from tests.checkpoints import tiny_llada
from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.s3_folders import VERSES, look, prune, put, put_folder, reading

TEXT = "builtin:plain-text"


@pytest.fixture
def bucket(s3: str) -> S3Options:
    return new_bucket(s3)


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3) as passing:
        yield passing


@pytest.fixture
def refused(bucket: S3Options, proxy: FaultyProxy, tmp_path: Path) -> "Refused":
    return Refused(bucket, proxy, tmp_path / "results" / "out")


class Refused:
    """How a run on a model ended that had to end."""

    def __init__(self, bucket: S3Options, proxy: FaultyProxy, out: Path) -> None:
        self.bucket, self.proxy, self.out = bucket, proxy, out

    def __call__(self, kind: type[SecateurError], source: str, text: str = TEXT) -> SecateurError:
        with pytest.raises(kind) as caught:
            prune(source, text, self.out, reading(self.bucket, self.proxy.url))
        assert type(caught.value) is kind
        assert not self.out.parent.exists() or list(self.out.parent.iterdir()) == []
        return caught.value

    def shards_asked(self) -> list[str]:
        return [s for s in self.proxy.seen if s.startswith("GET") and ".safetensors " in s]


def test_what_is_not_there(bucket: S3Options, refused: Refused, tiny_model: Path) -> None:
    error = refused(ModelNotFound, f"s3://{bucket.bucket}/nothing")
    assert "holds no file" in error.message
    put(bucket, "file", b"x")
    refused(ModelNotFound, f"s3://{bucket.bucket}/file")
    source = put_folder(bucket, "model", tiny_model)
    error = refused(TextNotFound, source, f"s3://{bucket.bucket}/nothing.txt")
    assert "nothing.txt" in error.message
    assert "SECATEUR_SOURCE_BUCKETS" in error.remedy
    assert len(refused.shards_asked()) <= 2  # the header at most
    outside = replace(bucket, bucket="no-such-bucket")
    with pytest.raises(ModelNotFound, match="no such bucket"):
        look("s3://no-such-bucket/a", TEXT, reading(outside))


def test_a_place_that_is_not_allowed_is_never_asked(
    bucket: S3Options, refused: Refused, proxy: FaultyProxy
) -> None:
    error = refused(SourceRefused, "s3://elsewhere/model")
    assert "outside" in error.message
    refused(SourceRefused, f"s3://{bucket.bucket}/a?endpoint=http://127.0.0.1:1")
    refused(SourceRefused, "example:kjv-dlm", "s3://elsewhere/a.txt")
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"config.json": b"{}"}, ModelNotFound, "no .safetensors"),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, UnsafeModel, "pytorch_model.bin"),
        ({"model.safetensors": b"x" * 9, "a//b": b"x"}, UnsafeModel, "a//b"),
        ({"model.safetensors": b"x" * 9, "a\\b": b"x"}, UnsafeModel, "plain file name"),
        ({"model.safetensors": b"x" * 9, "a": b"x", "a/b": b"x"}, UnsafeModel, "as a folder"),
        ({"model.safetensors": b""}, BrokenCheckpoint, "0 bytes"),
        ({"model.safetensors": b"x" * 9}, BrokenCheckpoint, "announces a header"),
        ({"model.safetensors": struct.pack("<Q", 9) + b"not json."}, BrokenCheckpoint, "not a valid"),
        ({"model.safetensors.index.json": b"["}, BrokenCheckpoint, "weight_map"),
        (
            {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "b.safetensors"}}).encode()},
            BrokenCheckpoint,
            "not there",
        ),
        (
            {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "../b.safetensors"}}).encode()},
            UnsafeModel,
            "not a shard",
        ),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_hostile_folder(
    bucket: S3Options,
    refused: Refused,
    files: dict[str, bytes],
    kind: type[SecateurError],
    said: str,
) -> None:
    for name, data in files.items():
        put(bucket, f"model/{name}", data)
    assert said in refused(kind, f"s3://{bucket.bucket}/model").message


def test_a_key_that_climbs(
    bucket: S3Options, refused: Refused, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put_folder(bucket, "model", tiny_model)
    listed = Objects.list
    climbing = Listed("model/../../evil.txt", 1, '"etag"')
    monkeypatch.setattr(Objects, "list", lambda self, prefix: [*listed(self, prefix), climbing])
    assert "evil.txt" in refused(UnsafeModel, source).message


def test_a_huge_header_is_never_fetched(
    bucket: S3Options, refused: Refused, tiny_model: Path
) -> None:
    shard = tiny_model / "model.safetensors"
    shard.write_bytes(struct.pack("<Q", 100_000_001) + shard.read_bytes())
    error = refused(BrokenCheckpoint, put_folder(bucket, "model", tiny_model))
    assert "100000001 bytes" in error.message
    assert len(refused.shards_asked()) == 1
    assert refused.proxy.passed < 20_000


def test_what_does_not_fit_the_disk_is_not_fetched(
    bucket: S3Options, refused: Refused, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put_folder(bucket, "model", tiny_model)
    total = sum(p.stat().st_size for p in tiny_model.iterdir())
    free = SimpleNamespace(free=2 * total - 1)
    monkeypatch.setattr("core.filling.shutil.disk_usage", lambda folder: free)
    error = refused(DiskFull, source)
    assert f"{2 * total} bytes are needed" in error.message  # the model, and the pruned one
    assert f"{2 * total - 1} are free" in error.message
    assert refused.shards_asked() == []
    free.free = 2 * total
    prune(source, TEXT, refused.out, reading(bucket))


def test_numbers_and_sizes_have_limits(
    bucket: S3Options, refused: Refused, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put_folder(bucket, "model", tiny_model)
    put(bucket, "model/.git/x", b"x")
    monkeypatch.setattr("core.listing.MAX_FILES", 3)
    assert "more than 3 files" in refused(UnsafeModel, source).message
    monkeypatch.setattr("core.listing.MAX_FILES", 4)
    for limit in ("MAX_AUXILIARY_BYTES", "MAX_ALL_AUXILIARY_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"core.listing.{limit}", 1500)
            assert "is no weights" in refused(BrokenCheckpoint, source).message
    assert refused.shards_asked() == []


class TestCommandLine:
    @pytest.fixture
    def source(self, bucket: S3Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.chdir(tmp_path)
        return put_folder(bucket, "model", tiny_llada(tmp_path / "model"))

    def run(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--samples", "2", "--sequence-length", "32", "--device", "cpu"])
        return int(ended.value.code or 0)

    def test_reads_any_bucket_of_the_endpoint_that_boto_knows(
        self, source: str, bucket: S3Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint or "")
        text = put(bucket, "a.txt", VERSES.read_bytes())
        made = ["prune", source, "--sparsity", "0.5", "--calibration", text, "--out", "out"]
        assert self.run(*made) == 0
        assert (tmp_path / "out/model/model.safetensors").is_file()
        assert self.run("analyze", source) == 0

    def test_takes_the_endpoint_of_the_setting(
        self, source: str, bucket: S3Options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        place = f"s3://{bucket.bucket}?endpoint={bucket.endpoint}"
        monkeypatch.setenv("SECATEUR_SOURCE_BUCKETS", place)
        assert self.run("analyze", source) == 0

    def test_says_what_is_wrong(
        self, source: str, bucket: S3Options, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint or "")
        assert self.run("analyze", f"{source}/nothing") == ModelNotFound.exit_status
        assert self.run("analyze", f"{source}?endpoint=http://a") == BadRequest.exit_status
        monkeypatch.setenv("SECATEUR_SOURCE_BUCKETS", "s3://BUCKET")
        assert self.run("analyze", source) == BadRequest.exit_status
        assert "SECATEUR_SOURCE_BUCKETS" in capsys.readouterr().err
