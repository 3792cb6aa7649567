"""Models of the hub: what is read of them, when, and that it is what was published."""

import threading
from pathlib import Path

import pytest

from core import hub_model
from core.errors import BrokenCheckpoint, SourceUnavailable
from core.hub_sources import HubSource
from core.models.checkpoint import Checkpoint
from core.models.intake import content_revision
from tests.checkpoints import tiny_llada
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault
from tests.hub_models import SHARD, read, take


class TestWhatIsRead:
    def test_is_what_the_hub_has_at_the_commit_of_the_revision(
        self, model_hub: FakeHub, tmp_path: Path
    ) -> None:
        model_hub.files |= {"modeling_llada.py": b"raise SystemExit", "more/notes.txt": b""}
        intake = take(tmp_path / "far", HubSource("org/name", "v1"))
        assert read(intake) == model_hub.files
        assert content_revision(intake) == COMMIT
        assert model_hub.asked[:2] == [
            "GET /api/models/org/name/revision/v1",
            f"GET /api/models/org/name/tree/{COMMIT}",
        ]
        places = (f"/org/name/resolve/{COMMIT}/", "/signed/")
        assert all(line.split()[1].startswith(places) for line in model_hub.asked[2:])

    def test_comes_at_the_same_commit_when_the_branch_moves(
        self, model_hub: FakeHub, tmp_path: Path
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.revisions["main"] = "f" * 40
        assert read(intake) == model_hub.files

    def test_of_tensors_only_when_they_are_asked_for(
        self, model_hub: FakeHub, tmp_path: Path
    ) -> None:
        checkpoint = Checkpoint(take(tmp_path / "far"))
        before = model_hub.sent
        place = checkpoint.places["model.transformer.ff_out.weight"]
        checkpoint.read("model.transformer.ff_out.weight")
        assert model_hub.sent - before == place.end - place.begin

    def test_in_parts_from_the_place_that_the_hub_named_once(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.filling.PART", 3_000)
        assert read(take(tmp_path / "far")) == model_hub.files
        assert len(model_hub.downloads(SHARD)) > 3 * hub_model.THREADS
        # At most once for each of the threads that begin at the same moment.
        assert model_hub.signed <= hub_model.THREADS + 2
        assert model_hub.connections <= 2 * (hub_model.THREADS + 1)

    def test_also_when_a_signed_address_expires(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.filling.PART", 50_000)
        monkeypatch.setattr("core.hub_model.THREADS", 1)
        model_hub.expiring = True
        assert read(take(tmp_path / "far")) == model_hub.files

    def test_page_by_page_of_the_hub_that_was_asked(
        self, model_hub: FakeHub, tmp_path: Path
    ) -> None:
        model_hub.page = 2
        assert read(take(tmp_path / "far")) == model_hub.files
        assert sum("/tree/" in line for line in model_hub.asked) == 1 + len(model_hub.files) // 2

    def test_shard_by_shard(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.files.clear()
        model_hub.put(tiny_llada(tmp_path / "sharded", shards=3))
        intake = take(tmp_path / "far")
        assert len(intake.weights) == 3
        assert read(intake) == model_hub.files

    def test_never_a_pickle_nor_another_copy_of_the_weights(
        self, model_hub: FakeHub, tmp_path: Path
    ) -> None:
        extra = {
            "pytorch_model.bin": b"pickle",
            "consolidated.safetensors": b"again",
            "more/q4.gguf": b"in another format",
        }
        kept = dict(model_hub.files)
        model_hub.files |= extra
        intake = take(tmp_path / "far")
        assert read(intake) == kept
        assert {file.as_posix() for file in intake.left_out} == set(extra)
        assert not any(name in line for name in extra for line in model_hub.asked)
        assert not any((intake.folder / name).exists() for name in extra)


class TestBytesThatAreNotThosePublished:
    @pytest.mark.parametrize(
        ("name", "digest"), [("/signed/", "SHA-256"), ("tokenizer.json", "git name")]
    )
    def test_are_noticed(self, model_hub: FakeHub, tmp_path: Path, name: str, digest: str) -> None:
        model_hub.faults[name] = Fault("altered", 99)
        with pytest.raises(BrokenCheckpoint, match=f"the {digest} [0-9a-f]+, not the"):
            read(take(tmp_path / "far"))

    @pytest.mark.parametrize("name", ["/signed/", "config.json"])
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("longer", "more bytes than it announced"),
            ("shorter file", "where the listing says"),
            ("zipped", "announces"),
            ("no part", "which part"),
        ],
    )
    def test_nor_as_many(
        self, model_hub: FakeHub, tmp_path: Path, name: str, kind: str, message: str
    ) -> None:
        model_hub.faults[name] = Fault(kind, 99)
        with pytest.raises(SourceUnavailable, match=message):
            read(take(tmp_path / "far"))

    def test_nor_in_their_place(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.faults["/signed/"] = Fault("other part", 99)
        with pytest.raises(SourceUnavailable, match="not those that were asked for"):
            read(take(tmp_path / "far"))

    def test_but_a_hub_need_not_know_parts(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.faults["/signed/"] = Fault("whole file", 99)
        assert read(take(tmp_path / "far")) == model_hub.files
        monkeypatch.setattr("core.hub_reader.SKIPPED_BYTES", 7)
        with pytest.raises(SourceUnavailable, match="not those that were asked for"):
            read(take(tmp_path / "again"))


def test_threads_end_with_the_run(model_hub: FakeHub, tmp_path: Path) -> None:
    read(take(tmp_path / "far"))
    assert not [
        t for t in threading.enumerate() if t.name.startswith("Thread-") and "member" in t.name
    ]
