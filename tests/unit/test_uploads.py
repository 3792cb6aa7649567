"""Files on their way into the store while the run that makes them goes on."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from core.errors import Cancelled, CorruptObject, StoreUnavailable
from core.progress import Progress, ignore
from core.store import manifest
from core.store.local import LocalStore
from workers.uploads import RUN_SHARE, Uploads

AWAY = StoreUnavailable("the store is away.")


class Store(LocalStore):
    """A real one that remembers what it was given, and fails or waits when told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.given: list[tuple[str, bool]] = []
        self.failures: list[Exception] = []
        self.free = Event()
        self.free.set()

    def put_file(
        self, key: str, source: Path, *, sha256: str | None = None, resume: bool = False
    ) -> None:
        self.free.wait(30)
        self.given.append((key.removeprefix("p/"), resume))
        if self.failures:
            raise self.failures.pop()
        super().put_file(key, source, sha256=sha256, resume=resume)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def uploads(store: Store, tmp_path: Path) -> Iterator[Uploads]:
    with Uploads(store, "p", tmp_path / "links", resume=False) as made:
        yield made


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """An output folder whose name will change."""
    made = tmp_path / "partial"
    for name in ("model/a", "model/b", "report/report.json", "zzz"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name * 10)
    manifest.write(manifest.build(made, spec={}, revision="", versions={}, seeds={}), made)
    return made


def test_the_manifest_comes_last(uploads: Uploads, store: Store, partial: Path) -> None:
    assert uploads.publish(partial, ignore) == "p/manifest.json"
    assert [name for name, _ in store.given] == [
        "model/a", "model/b", "report/report.json", "zzz", "manifest.json",
    ]  # fmt: skip


def test_a_file_that_was_sent_early_is_not_sent_again(
    uploads: Uploads, store: Store, partial: Path
) -> None:
    store.free.clear()
    uploads.add("model/b", partial / "model" / "b")
    out = partial.rename(partial.with_name("out"))  # before its turn has come
    store.free.set()
    uploads.publish(out, ignore)
    names = [name for name, _ in store.given]
    assert names == ["model/b", "model/a", "report/report.json", "zzz", "manifest.json"]
    assert store.read_bytes("p/model/b") == b"model/b" * 10


def test_a_file_that_is_not_the_manifest_s_is_not_published(
    uploads: Uploads, store: Store, partial: Path
) -> None:
    """Neither the early copy nor the later one can be what a client is to get."""
    uploads.add("model/b", partial / "model" / "b")
    with (partial / "model" / "b").open("a") as file:
        file.write("!")
    with pytest.raises(CorruptObject, match="b differs from its SHA-256"):
        uploads.publish(partial, ignore)
    assert "manifest.json" not in [name for name, _ in store.given]


def test_an_early_failure_is_tried_once_more_at_the_end(
    uploads: Uploads, store: Store, partial: Path
) -> None:
    store.failures = [AWAY]
    uploads.add("model/b", partial / "model" / "b")
    uploads.publish(partial, ignore)
    assert [given for given in store.given if given[0] == "model/b"] == [
        ("model/b", False), ("model/b", True),
    ]  # fmt: skip
    assert store.read_bytes("p/model/b") == b"model/b" * 10


def test_a_failure_that_stays_is_the_error_that_it_is(
    uploads: Uploads, store: Store, partial: Path
) -> None:
    uploads.add("model/b", partial / "model" / "b")
    store.failures = [AWAY] * 3
    with pytest.raises(StoreUnavailable, match="the store is away"):
        uploads.publish(partial, ignore)
    assert "manifest.json" not in [name for name, _ in store.given]


def test_a_store_that_is_away_at_the_end_is_waited_for(
    store: Store, tmp_path: Path, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.uploads.PAUSE_SECONDS", 0.01)
    told: list[str] = []
    store.failures = [AWAY] * 4
    with Uploads(store, "p", tmp_path / "links", resume=False, patience=30) as uploads:
        uploads.publish(partial, lambda progress: told.append(progress.message))
    assert store.given[:5] == [("model/a", False)] + [("model/a", True)] * 4
    assert any("the store is away, trying again" in message for message in told)
    assert store.read_bytes("p/manifest.json") == (partial / "manifest.json").read_bytes()


def test_other_errors_are_not_waited_out(store: Store, tmp_path: Path, partial: Path) -> None:
    store.failures = [CorruptObject("other bytes.", remedy="")]
    with (
        Uploads(store, "p", tmp_path / "links", resume=False, patience=30) as uploads,
        pytest.raises(CorruptObject),
    ):
        uploads.publish(partial, ignore)
    assert len(store.given) == 1


def test_what_an_earlier_process_began_is_gone_on_with(
    store: Store, tmp_path: Path, partial: Path
) -> None:
    with Uploads(store, "p", tmp_path / "links", resume=True) as uploads:
        uploads.publish(partial, ignore)
    assert all(resume for _, resume in store.given)


def test_a_wish_to_stop_is_heard_while_something_is_being_sent(
    uploads: Uploads, store: Store, partial: Path
) -> None:
    store.free.clear()
    began = monotonic()

    def stop_soon(_: Progress) -> None:
        if monotonic() > began + 0.3:
            raise Cancelled("as the test wants it.")

    with uploads, pytest.raises(Cancelled):
        uploads.publish(partial, stop_soon)
    assert monotonic() < began + 5
    store.free.set()


def test_a_file_system_without_links_makes_it_wait_for_the_end(
    uploads: Uploads, store: Store, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    uploads.add("model/b", partial / "model" / "b")
    assert store.given == []
    uploads.publish(partial, ignore)
    assert store.read_bytes("p/model/b") == b"model/b" * 10


def test_progress_tells_how_much_is_in_the_store(uploads: Uploads, partial: Path) -> None:
    told: list[Progress] = []
    uploads.publish(partial, told.append)
    fractions = [each.fraction for each in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (RUN_SHARE, 1.0)
    assert {each.message for each in told} >= {"storing zzz (4 of 4)", "storing manifest.json"}
