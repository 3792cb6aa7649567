"""Whole runs on models and texts in a bucket: the same bytes as from a folder, and only those."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pyarrow import Table, parquet
from safetensors.torch import save_file

from core import s3_model
from core.crew import nobody
from core.errors import DataError
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.intake import content_revision, take_in
from core.sources import S3Source
from core.store import manifest
from core.store.s3_options import S3Options
from tests.buckets import new_bucket
from tests.checkpoints import tiny_llada
from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.s3_folders import VERSES, client, look, prune, put, put_folder, reading


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3) as passing:
        yield passing


@pytest.fixture
def text(bucket: S3Options) -> str:
    return put(bucket, "texts/verses.txt", VERSES.read_bytes())


def digests(model: Path) -> dict[str, str]:
    """All but the card, which names the source."""
    files = [p for p in model.rglob("*") if p.is_file() and p.name != "README.md"]
    return {str(p.relative_to(model)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("sha256", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_pruned_model_is_that_of_the_folder(
    bucket: S3Options, text: str, tmp_path: Path, shards: int, sha256: bool
) -> None:
    model = tiny_llada(tmp_path / "model", shards=shards)
    (model / "more").mkdir()
    (model / "more" / "notes.txt").write_text("kept")
    (model / "README.md").write_text("# original")
    (model / "pytorch_model.bin").write_bytes(b"dense")
    (model / "empty").touch()
    source = put_folder(bucket, f"runs/{shards}-{sha256}", model, sha256=sha256)
    put(bucket, f"runs/{shards}-{sha256}/more/", b"")  # as consoles make folders
    far = prune(source, text, tmp_path / "far", reading(bucket))
    near = prune(
        model.as_uri(),
        VERSES.as_uri(),
        tmp_path / "near",
        replace(reading(bucket), model_roots=None),
    )
    assert digests(tmp_path / "far/model") == digests(tmp_path / "near/model")
    assert far.model.revision == near.model.revision
    assert far.model.revision.startswith("sha256:")
    assert far.warnings == near.warnings
    assert far.calibration.revision is not None
    assert far.calibration.revision.startswith("s3-etag:")
    assert far.quality == near.quality.model_copy(update={"nelbo": far.quality.nelbo})
    manifest.verify(tmp_path / "far")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["far", "model", "near"]


def test_a_job_run_twice_gives_the_same_bytes(
    bucket: S3Options, text: str, tiny_model: Path, tmp_path: Path
) -> None:
    source = put_folder(bucket, "twice", tiny_model)
    for name in ("one", "two"):
        prune(source, text, tmp_path / name, reading(bucket))
    one, two = (
        {f["name"]: f["sha256"] for f in json.loads((tmp_path / n / "manifest.json").read_text())["files"]}
        for n in ("one", "two")
    )  # fmt: skip
    measured = {"report/report.json", "report/report.html", "model/README.md"}  # hold times
    assert {n: d for n, d in one.items() if n not in measured} == {
        n: d for n, d in two.items() if n not in measured
    }


class TestAnalysis:
    @pytest.fixture
    def wide(self, bucket: S3Options, tmp_path: Path) -> tuple[str, Path]:
        """A model whose head has 139 kB, in one shard with the rest."""
        model = tiny_llada(tmp_path / "wide", width=512, heads=4, ffn=64, layers=1)
        return put_folder(bucket, "wide", model), model

    def test_fetches_all_but_the_head(
        self, bucket: S3Options, text: str, wide: tuple[str, Path], proxy: FaultyProxy
    ) -> None:
        source, folder = wide
        places = Checkpoint(take_in(folder)).places
        head = places["model.transformer.ff_out.weight"]
        found = look(source, text, reading(bucket, proxy.url))
        files = sum(p.stat().st_size for p in folder.iterdir()) + VERSES.stat().st_size
        listing = 20_000  # XML
        without = files - (head.end - head.begin)
        assert without <= proxy.passed <= without + listing
        assert head.end - head.begin > listing
        assert found.model.revision.startswith("s3-etag:")
        again = look(source, text, reading(bucket))
        assert again.model == found.model
        assert again.sinks == found.sinks

    def test_sees_what_it_sees_in_a_folder(
        self, bucket: S3Options, text: str, wide: tuple[str, Path]
    ) -> None:
        source, folder = wide
        far = look(source, text, reading(bucket))
        near = look(folder.as_uri(), VERSES.as_uri(), replace(reading(bucket), model_roots=None))
        assert far.sinks == near.sinks
        assert far.model == near.model.model_copy(
            update={"source": source, "revision": far.model.revision}
        )

    def test_a_revision_is_that_of_the_objects(
        self, bucket: S3Options, text: str, wide: tuple[str, Path]
    ) -> None:
        source, folder = wide
        before = look(source, text, reading(bucket)).model.revision
        put(bucket, "wide/config.json", (folder / "config.json").read_bytes())
        assert look(source, text, reading(bucket)).model.revision == before
        put(bucket, "wide/more.txt", b"more")
        assert look(source, text, reading(bucket)).model.revision != before


def test_small_tensors_come_together(
    bucket: S3Options, text: str, tmp_path: Path, proxy: FaultyProxy
) -> None:
    source = put_folder(bucket, "many", tiny_llada(tmp_path / "model", layers=8))
    prune(source, text, tmp_path / "out", reading(bucket, proxy.url))
    assert len(shard_requests(proxy)) == 3  # the header's length, the header, 75 tensors
    proxy.seen.clear()
    look(source, text, reading(bucket, proxy.url))
    assert len(shard_requests(proxy)) == 4  # what lies before the head, and behind it


def shard_requests(proxy: FaultyProxy) -> list[str]:
    return [line for line in proxy.seen if line.startswith("GET") and ".safetensors " in line]


class TestOneByOne:
    """What a model in a bucket looks like to who reads it tensor by tensor."""

    @pytest.fixture
    def far(
        self, bucket: S3Options, proxy: FaultyProxy, tiny_model: Path, tmp_path: Path
    ) -> Checkpoint:
        source = put_folder(bucket, tmp_path.name, tiny_model).split("/", 3)[3]
        place = f"s3://{bucket.bucket}?endpoint={proxy.url}"
        found = S3Source(bucket.bucket, source, place)
        return Checkpoint(s3_model.take_in(found, tmp_path / "far", nobody, copies=1))

    def test_a_tensor_is_fetched_when_it_is_read_and_once(
        self, far: Checkpoint, tiny_model: Path, proxy: FaultyProxy
    ) -> None:
        near = Checkpoint(take_in(tiny_model))
        assert far.places == near.places
        sparse = far.intake.folder / "model.safetensors"
        assert sparse.stat().st_size == (tiny_model / "model.safetensors").stat().st_size
        before = proxy.passed
        for name in ("model.transformer.wte.weight", "model.transformer.blocks.1.ff_proj.weight"):
            for _ in range(2):
                assert torch.equal(far.read(name), near.read(name))
        rows = far.read("model.transformer.blocks.0.up_proj.weight", (3, 5))
        assert torch.equal(rows, near.read("model.transformer.blocks.0.up_proj.weight", (3, 5)))
        read = (68 * 32 + 48 * 32 + 2 * 32) * 4
        assert proxy.passed - before == read
        assert content_revision(far.intake).startswith("s3-etag:")

    def test_who_copies_shards_gets_them_whole(
        self, far: Checkpoint, tiny_model: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "copy").mkdir()
        CheckpointWriter(far, tmp_path / "copy")
        assert digests(tmp_path / "copy") == digests(tiny_model)
        assert content_revision(far.intake) == content_revision(take_in(tiny_model))


class TestTexts:
    @pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
    def test_every_kind_is_read(
        self, bucket: S3Options, tiny_model: Path, tmp_path: Path, suffix: str
    ) -> None:
        file = tmp_path / f"text{suffix}"
        documents = [line for line in VERSES.read_text().splitlines() if line]
        if suffix == ".parquet":
            parquet.write_table(Table.from_pydict({"text": documents}), file)
        else:
            file.write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
        far = put(bucket, f"texts/{file.name}", file.read_bytes(), sha256=True)
        options = replace(reading(bucket), model_roots=None)
        near = look(tiny_model.as_uri(), file.as_uri(), options)
        assert look(tiny_model.as_uri(), far, options).sinks == near.sinks

    def test_a_token_file(self, bucket: S3Options, tiny_model: Path, tmp_path: Path) -> None:
        ids = torch.randint(0, 60, (8, 32), generator=torch.Generator().manual_seed(3))
        save_file({"input_ids": ids}, tmp_path / "tokens.safetensors")
        far = put(bucket, "tokens.safetensors", (tmp_path / "tokens.safetensors").read_bytes())
        options = replace(reading(bucket), model_roots=None)
        near = look(tiny_model.as_uri(), (tmp_path / "tokens.safetensors").as_uri(), options)
        assert look(tiny_model.as_uri(), far, options).sinks == near.sinks

    def test_a_version_is_named_where_there_are_versions(self, s3: str, tiny_model: Path) -> None:
        kept = new_bucket(s3)
        on = {"Status": "Enabled"}
        client(kept).put_bucket_versioning(Bucket=kept.bucket, VersioningConfiguration=on)
        text = put(kept, "a.txt", VERSES.read_bytes())
        version = client(kept).head_object(Bucket=kept.bucket, Key="a.txt")["VersionId"]
        options = replace(reading(kept), model_roots=None)
        found = look(tiny_model.as_uri(), text, options)
        assert found.calibration.revision == f"s3-version:{version}"

    def test_what_is_too_large_is_not_fetched(
        self, bucket: S3Options, text: str, tiny_model: Path,
        proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("core.s3_text.MAX_BYTES", 1000)
        options = replace(reading(bucket, proxy.url), model_roots=None)
        with pytest.raises(DataError, match="more than 1000"):
            look(tiny_model.as_uri(), text, options)
        assert [line[:4] for line in proxy.seen] == ["HEAD"]
