"""Data sets of the hub: which files are read, at which commit, and every way the hub can fail."""

from pathlib import Path

import pytest

from core import hub as under_test
from core.errors import DataError, HubUnavailable, SourceRefused, TextNotFound
from core.hub import Hub, text_files
from core.sources import HubDataset, hub_dataset
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault

REVISION = "/api/datasets/org/name/revision/main"
RESOLVE = f"/datasets/org/name/resolve/{COMMIT}"
FIRST = "data/train-00000-of-00002.txt"
TRAIN = HubDataset("org/name", "main", None)


def read(scratch: Path, dataset: HubDataset = TRAIN, kept: Path | None = None) -> list[bytes]:
    with Hub(scratch, kept).snapshot(dataset) as snapshot:
        return [path.read_bytes() for path in snapshot.paths()]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://datasets/a/b", HubDataset("a/b", "main", None)),
        ("hf://datasets/a/b/", HubDataset("a/b", "main", None)),
        ("hf://datasets/a/b@v1.0", HubDataset("a/b", "v1.0", None)),
        ("hf://datasets/a/b@v1/c/d.parquet", HubDataset("a/b", "v1", "c/d.parquet")),
        ("hf://datasets/a/b@refs/pr/3/c", HubDataset("a/b", "refs/pr/3", "c")),
        ("hf://datasets/a/b@refs/convert/parquet", HubDataset("a/b", "refs/convert/parquet", None)),
        ("hf://datasets/a/b/c d.txt", HubDataset("a/b", "main", "c d.txt")),
    ],
)
def test_sources_name_a_data_set(source: str, expected: HubDataset) -> None:
    assert hub_dataset(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "hf://datasets/a", "hf://datasets/../b", "hf://datasets/a/..", "hf://datasets/a/b@",
        "hf://datasets/a/b/../c.txt", "hf://datasets/a/b//etc/passwd", "hf://datasets/a/b/c\\d.txt",
        "hf://datasets/a/b@../x", "hf://datasets/a b/c", "hf://datasets/a/b/./c", "hf://models/a/b",
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(source: str) -> None:
    with pytest.raises(SourceRefused, match="does not name a data set"):
        hub_dataset(source)


def in_files(path: str | None, *names: str) -> tuple[str, ...]:
    return text_files(HubDataset("org/name", "main", path), names)


def test_which_files_of_a_data_set_are_read() -> None:
    assert in_files(None, "b.txt", "LICENSE.txt", "train.jsonl") == ("train.jsonl",)
    assert in_files(None, "x/train-1.parquet", "x/train-0.parquet", "x/test-0.parquet") == (
        "x/train-0.parquet",
        "x/train-1.parquet",
    )
    assert in_files(None, "constrained.jsonl", "validation.jsonl") == ("constrained.jsonl",)
    assert in_files(None, "train/0.jsonl", "validation/0.jsonl") == ("train/0.jsonl",)
    assert in_files("en", "en/train.jsonl", "de/train.jsonl", "end.jsonl") == ("en/train.jsonl",)
    assert in_files("test.jsonl", "train.jsonl", "test.jsonl") == ("test.jsonl",)
    assert in_files("x.safetensors", "x.safetensors", "train.txt") == ("x.safetensors",)


@pytest.mark.parametrize(
    ("path", "names", "message"),
    [
        (None, ("a/train.jsonl", "b/train.jsonl"), "text in several folders: a, b"),
        (None, ("test.jsonl", "dev.jsonl"), "no train split"),
        (None, ("data.csv",), "holds: data.csv"),
        (None, (), "holds: nothing"),
        ("de", ("en/train.jsonl",), "org/name/de at main has no train split"),
        ("a.csv", ("a.csv", "train.txt"), "a.csv is not one of .parquet, .jsonl, .txt"),
    ],
)
def test_no_clear_choice_is_named(path: str | None, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(TextNotFound) as caught:
        in_files(path, *names)
    assert message in str(caught.value)


def test_the_train_split_is_downloaded_in_order_from_the_resolved_commit(
    hub: FakeHub, tmp_path: Path
) -> None:
    with Hub(tmp_path).snapshot(HubDataset("org/name", "v1", None)) as snapshot:
        assert snapshot.commit == COMMIT
        assert [path.read_bytes() for path in snapshot.paths()] == [b"first", b"second"]
    downloads = [path for path in hub.asked if path.startswith("GET /datasets/")]
    assert downloads == [
        f"GET {RESOLVE}/data/train-0000{n}-of-00002.txt" for n in (0, 1)
    ]  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_file_is_downloaded_only_when_it_is_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    with Hub(tmp_path).snapshot(TRAIN) as snapshot:
        assert next(snapshot.paths()).read_bytes() == b"first"
    assert not any("train-00001" in path for path in hub.asked)


def test_kept_downloads_serve_later_runs(hub: FakeHub, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert read(tmp_path, kept=kept) == read(tmp_path, kept=kept) == [b"first", b"second"]
    assert sum(path.startswith("GET /datasets/") for path in hub.asked) == 2


def test_a_revision_of_its_own_kind_is_one_name(hub: FakeHub, tmp_path: Path) -> None:
    assert read(tmp_path, hub_dataset("hf://datasets/org/name@refs/convert/parquet"))
    assert hub.asked[0] == "GET /api/datasets/org/name/revision/refs%2Fconvert%2Fparquet"


@pytest.mark.parametrize("status", [401, 403])
def test_private_and_gated_data_sets_say_what_is_needed(
    hub: FakeHub, tmp_path: Path, status: int
) -> None:
    hub.faults[REVISION] = Fault("refused", 99, status=status)
    with pytest.raises(TextNotFound, match=f"refuses access \\({status}\\).*HF_TOKEN"):
        read(tmp_path)
    hub.faults = {FIRST: Fault("refused", 99, status=status)}
    with pytest.raises(TextNotFound, match=f"refuses access \\({status}\\).*HF_TOKEN"):
        read(tmp_path)


def test_what_is_not_there_is_named(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(TextNotFound, match="org/other at main: not on the hub"):
        read(tmp_path, HubDataset("org/other", "main", None))
    with pytest.raises(TextNotFound, match="org/name at v9: not on the hub"):
        read(tmp_path, HubDataset("org/name", "v9", None))
    hub.faults[FIRST] = Fault("refused", 99, status=404)
    with pytest.raises(TextNotFound, match=r"train-00000-of-00002\.txt: not on the hub"):
        read(tmp_path)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_hub_that_fails_is_unavailable(hub: FakeHub, tmp_path: Path, status: int) -> None:
    hub.faults[REVISION] = Fault("refused", 99, status=status)
    with pytest.raises(HubUnavailable, match=str(status)):
        read(tmp_path)
    hub.faults = {FIRST: Fault("refused", 99, status=status)}
    with pytest.raises(HubUnavailable, match=str(status)):
        read(tmp_path)


def test_a_hub_that_is_not_there_is_unavailable(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnavailable, match="HF_ENDPOINT"):
        read(tmp_path)


def test_a_hub_that_never_answers_is_not_waited_for(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults[REVISION] = Fault("deaf", 99)
    with pytest.raises(HubUnavailable, match="ReadTimeout"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("cut", HubUnavailable, "did not deliver"),
        ("longer", HubUnavailable, "should be of size"),
        ("stalled", HubUnavailable, "ReadTimeout"),
        ("altered", DataError, "not those published"),
    ],
)
def test_bodies_that_go_wrong_are_named_and_leave_nothing(
    hub: FakeHub, tmp_path: Path, kind: str, error: type[DataError], message: str
) -> None:
    hub.faults[FIRST] = Fault(kind, 99)
    kept = tmp_path / "kept"
    with pytest.raises(error, match=message) as caught:
        read(tmp_path, kept=kept)
    assert type(caught.value) is error
    hub.faults.clear()
    assert read(tmp_path, kept=kept) == [b"first", b"second"]


def test_a_download_that_begins_anew_for_ever_ends(hub: FakeHub, tmp_path: Path) -> None:
    # Each attempt brings bytes, so the library would never give up by itself.
    hub.files[FIRST] = b"x" * 22_000_000
    hub.faults[FIRST] = Fault("begun anew", 99, at=11_000_000)
    with pytest.raises(HubUnavailable, match="twice the bytes"):
        read(tmp_path)
    assert len(hub.asked) < 12


def test_a_download_that_is_cut_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    body = bytes(range(256)) * 160_000
    hub.files[FIRST] = body
    hub.faults[FIRST] = Fault("cut", at=len(body) // 2)
    assert read(tmp_path)[0] == body


def test_sizes_are_checked_before_anything_is_downloaded(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_FILE_BYTES", 1000)
    hub.sizes[FIRST] = 1001
    with pytest.raises(DataError, match="1001 bytes, more than 1000"):
        read(tmp_path)
    assert not any(path.startswith("GET /datasets/") for path in hub.asked)
    hub.sizes.clear()
    monkeypatch.setattr(under_test, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes would be downloaded"):
        read(tmp_path)
    assert not any("GET" in path and "train-00001" in path for path in hub.asked)


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x.txt", "/etc/x.txt", "a\\..\\x.txt", "a//x.txt"]
)
def test_file_names_that_leave_their_folder_are_refused(
    hub: FakeHub, tmp_path: Path, name: str
) -> None:
    hub.files = {name: b"x", "train.txt": b"y"}
    with pytest.raises(DataError, match="no plain file name"):
        read(tmp_path)


def test_a_commit_that_is_none_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.revisions["main"] = "../../main"
    with pytest.raises(HubUnavailable, match="names no commit"):
        read(tmp_path)
