"""Models and texts from a bucket at the other end of a line that breaks."""

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core import s3_model
from core.errors import (
    BrokenCheckpoint,
    Cancelled,
    DataError,
    DiskFull,
    SecateurError,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
)
from core.progress import Progress, ignore
from core.progress import Report as Watch
from core.report.schema import Report
from core.s3_objects import Listed, Objects
from core.stages import RunOptions
from core.store.s3_options import S3Options
from tests.checkpoints import tiny_llada
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.s3_folders import VERSES, prune, put, put_folder, reading

REQUESTS = 3  # for a shard: its header's length, its header, its tensors
AT = 20_000  # in the tensors of the shard, and in none of its headers


@dataclass(frozen=True)
class Far:
    """A model and a text in a bucket that is reached through `proxy`."""

    bucket: S3Options
    proxy: FaultyProxy
    folder: Path
    model: str
    text: str
    out: Path

    @property
    def shard(self) -> str:
        return f"GET {self.model.removeprefix('s3:/')}/model.safetensors"

    def prune(self, watch: Watch = ignore, more: str = "&attempts=3") -> Report:
        return prune(self.model, self.text, self.out, self.options(more), watch)

    def options(self, more: str = "&attempts=3") -> RunOptions:
        return reading(self.bucket, self.proxy.url, more)

    def asked(self) -> int:
        return len([line for line in self.proxy.seen if line.startswith(self.shard)])


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.report.build.all_plots", lambda *_: [])


@pytest.fixture
def put_far(server: str, bucket: S3Options, tmp_path: Path) -> Iterator[Callable[[bool], Far]]:
    """Puts the model and the text there, with their SHA-256 or without."""
    folder = tiny_llada(tmp_path / "model")
    with faulty_proxy(server) as proxy:

        def put_there(sha256: bool) -> Far:
            model = put_folder(bucket, f"{tmp_path.name}/model", folder, sha256=sha256)
            data = VERSES.read_bytes()
            text = put(bucket, f"{tmp_path.name}/verses.txt", data, sha256=sha256)
            return Far(bucket, proxy, folder, model, text, tmp_path / "out")

        yield put_there


@pytest.fixture
def far(put_far: Callable[[bool], Far]) -> Far:
    return put_far(False)


@pytest.fixture
def pruned(far: Far, tmp_path: Path) -> str:
    """The digest of what comes out where nothing breaks."""
    options = replace(reading(far.bucket), model_roots=None)
    prune(far.folder.as_uri(), VERSES.as_uri(), tmp_path / "near", options)
    return digest(tmp_path / "near")


def digest(out: Path) -> str:
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "fault",
    [Fault("reset", at=AT), Fault("end", at=AT), Fault("stall", at=AT), Fault("answer")],
    ids=lambda fault: fault.kind,
)
def test_a_break_is_mended_and_only_the_rest_is_asked_for(
    far: Far, pruned: str, fault: Fault
) -> None:
    fault.request, fault.times = far.shard, REQUESTS
    far.proxy.fault = fault
    far.prune(more="&attempts=4&timeout=1")
    assert digest(far.out) == pruned
    assert far.asked() > REQUESTS
    files = sum(p.stat().st_size for p in far.folder.iterdir()) + VERSES.stat().st_size
    assert far.proxy.passed < files + AT


def test_a_line_that_always_breaks_is_given_up(far: Far) -> None:
    far.proxy.fault = Fault("reset", far.shard, at=100, times=99)
    with pytest.raises(SourceUnavailable, match=r"model\.safetensors.*again and again") as caught:
        far.prune()
    assert "SECATEUR_SOURCE_BUCKETS" in caught.value.remedy
    assert not far.out.exists()


@pytest.mark.parametrize(
    ("method", "status", "code", "kind", "remedy"),
    [
        ("GET", 403, "AccessDenied", SourceRefused, "s3:GetObject"),
        ("GET", 403, "ExpiredToken", SourceUnavailable, "expired"),
        ("GET", 503, "SlowDown", SourceUnavailable, "SECATEUR_SOURCE_BUCKETS"),
        ("GET", 418, "Teapot", SourceUnavailable, "documentation"),
        # An answer to HEAD has no body, and so no code.
        ("HEAD", 403, "", SourceRefused, "are valid"),
        ("HEAD", 503, "", SourceUnavailable, "SECATEUR_SOURCE_BUCKETS"),
    ],
)
def test_refusals_have_a_name_and_a_remedy(
    far: Far, method: str, status: int, code: str, kind: type[SecateurError], remedy: str
) -> None:
    far.proxy.fault = Fault("answer", method, times=99, status=status, code=code)
    with pytest.raises(kind) as caught:
        far.prune(more="&attempts=1")
    assert type(caught.value) is kind
    assert remedy in caught.value.remedy


class TestWrongBytes:
    def test_are_noticed_where_their_digest_was_stored(
        self, put_far: Callable[[bool], Far]
    ) -> None:
        far = put_far(True)
        far.proxy.fault = Fault("flip", far.shard, at=AT, times=REQUESTS)
        with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors.*SHA-256"):
            far.prune()
        far.proxy.fault = Fault("flip", f"GET {far.text.removeprefix('s3:/')}", at=100)
        with pytest.raises(DataError, match=r"verses\.txt.*SHA-256"):
            far.prune()
        far.proxy.fault = Fault("flip", f"{far.shard.removesuffix('model.safetensors')}config.json")
        with pytest.raises(BrokenCheckpoint, match=r"config\.json.*SHA-256"):
            far.prune()
        assert not far.out.exists()

    def test_cannot_be_where_it_was_not_but_show_in_the_revision(
        self, far: Far, pruned: str
    ) -> None:
        far.proxy.fault = Fault("flip", far.shard, at=AT, times=REQUESTS)
        found = far.prune()
        assert digest(far.out) != pruned
        far.proxy.fault = None
        far.out.rename(far.out.with_name("damaged"))
        assert far.prune().model.revision != found.model.revision

    def test_in_the_length_of_a_header(self, far: Far) -> None:
        far.proxy.fault = Fault("flip", far.shard, at=6)
        with pytest.raises(BrokenCheckpoint, match="announces a header"):
            far.prune()
        assert far.asked() == 1


class TestAnObjectThatIsReplaced:
    def replacing(self, far: Far, after: int) -> Watch:
        """Watches, and puts another model there once `after` requests for the shard were made."""
        other = tiny_llada(far.folder.with_name("other"), seed=1)

        def watch(_: Progress) -> None:
            if far.asked() >= after and other.exists():
                put_folder(far.bucket, far.model.split("/", 3)[3], other)
                other.rename(other.with_name("put"))

        return watch

    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_is_never_mixed_with_the_new_one(
        self, far: Far, after: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SourceChanged, match="replaced") as caught:
            far.prune(self.replacing(far, after) if after else self.after_listing(far, monkeypatch))
        assert "again" in caught.value.remedy
        assert not far.out.exists()

    def after_listing(self, far: Far, monkeypatch: pytest.MonkeyPatch) -> Watch:
        listed, replace_now = s3_model.listed_files, self.replacing(far, 0)

        def list_and_replace(objects: Objects) -> dict[Path, Listed]:
            found = listed(objects)
            replace_now(Progress("fetching", 0.0, ""))
            return found

        monkeypatch.setattr(s3_model, "listed_files", list_and_replace)
        return ignore

    def test_after_the_last_byte_does_no_harm(self, far: Far, pruned: str) -> None:
        far.prune(self.replacing(far, REQUESTS))
        assert digest(far.out) == pruned


def test_a_run_that_waits_for_a_silent_line_can_be_cancelled(far: Far) -> None:
    far.proxy.fault = Fault("stall", far.shard, at=AT, times=REQUESTS)

    def stop(_: Progress) -> None:
        if far.asked() == REQUESTS:
            raise Cancelled("enough")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        far.prune(stop, more="&timeout=60")
    assert time.monotonic() - began < 10
    assert list(far.out.parent.iterdir()) == [far.folder]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_meanwhile_is_an_error_and_no_signal(
    far: Far, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DiskFull, match="bytes are needed"):
        replace(far, out=small_disk / "out").prune()
    monkeypatch.setattr("core.filling.check_room", lambda folder, needed: None)
    monkeypatch.setattr("core.s3_model.check_room", lambda folder, needed: None)
    with pytest.raises(DiskFull, match="no space left"):
        replace(far, out=small_disk / "out").prune()
    assert list(small_disk.iterdir()) == []
