"""Models of the hub that are kept for later runs, and believed no more than the hub is."""

import os
from pathlib import Path

import pytest

from core.errors import BrokenCheckpoint, SourceUnavailable
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault
from tests.hub_models import SHARD, read, take


class TestKept:
    def test_what_is_there_is_not_asked_for_again(self, model_hub: FakeHub, tmp_path: Path) -> None:
        assert read(take(tmp_path / "one", kept=tmp_path / "kept")) == model_hub.files
        before = model_hub.sent
        again = take(tmp_path / "two", kept=tmp_path / "kept")
        assert read(again) == model_hub.files
        assert model_hub.sent == before
        assert again.folder == tmp_path / "kept" / "models" / "org" / "name" / COMMIT / "files"

    def test_nor_what_came_before_a_run_was_lost(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.filling.PART", 20_000)
        monkeypatch.setattr("core.hub_model.THREADS", 1)
        intake = take(tmp_path / "one", kept=tmp_path / "kept")
        model_hub.faults[f"{SHARD}"] = Fault("cut", 4, at=0)
        parts = len(model_hub.asked)
        with pytest.raises(SourceUnavailable):
            read(intake)
        del intake
        assert len(model_hub.asked) > parts
        whole, before = sum(map(len, model_hub.files.values())), model_hub.sent
        assert read(take(tmp_path / "two", kept=tmp_path / "kept")) == model_hub.files
        assert model_hub.sent - before <= whole
        assert model_hub.sent <= whole + 20_000

    def test_is_held_against_its_digest_again(self, model_hub: FakeHub, tmp_path: Path) -> None:
        folder = take(tmp_path / "one", kept=tmp_path / "kept").folder
        read(take(tmp_path / "two", kept=tmp_path / "kept"))
        for name in (SHARD, "config.json"):
            damaged = bytearray((folder / name).read_bytes())
            damaged[-3] ^= 1
            (folder / name).write_bytes(damaged)
        assert read(take(tmp_path / "three", kept=tmp_path / "kept")) == model_hub.files
        os.truncate(folder / SHARD, 100)
        (folder / "config.json").unlink()
        assert read(take(tmp_path / "four", kept=tmp_path / "kept")) == model_hub.files

    def test_wrong_bytes_are_not_kept(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.faults["/signed/"] = Fault("altered", 99)
        with pytest.raises(BrokenCheckpoint):
            read(take(tmp_path / "one", kept=tmp_path / "kept"))
        model_hub.faults.clear()
        assert read(take(tmp_path / "two", kept=tmp_path / "kept")) == model_hub.files

    def test_by_one_run_at_a_time(self, model_hub: FakeHub, tmp_path: Path) -> None:
        writing = take(tmp_path / "one", kept=tmp_path / "kept")
        other = take(tmp_path / "two", kept=tmp_path / "kept")
        assert other.folder == tmp_path / "two" / "source"
        assert read(other) == read(writing) == model_hub.files
        # Whoever has everything only reads, and lets others read, too.
        third = take(tmp_path / "three", kept=tmp_path / "kept")
        assert third.folder == writing.folder
        before = model_hub.sent
        assert read(third) == model_hub.files
        assert model_hub.sent == before

    def test_damage_under_a_reader_is_an_error(self, model_hub: FakeHub, tmp_path: Path) -> None:
        reading = take(tmp_path / "one", kept=tmp_path / "kept")
        read(reading)
        damaged = bytearray((reading.folder / SHARD).read_bytes())
        damaged[-3] ^= 1
        (reading.folder / SHARD).write_bytes(damaged)
        with pytest.raises(BrokenCheckpoint, match="is damaged, and another run is reading it"):
            take(tmp_path / "two", kept=tmp_path / "kept")

    def test_a_line_that_a_crash_cut_is_none(self, model_hub: FakeHub, tmp_path: Path) -> None:
        folder = take(tmp_path / "one", kept=tmp_path / "kept").folder
        with (folder.parent / "ranges.jsonl").open("ab") as journal:
            journal.write(b'["model.safetensors", 0, 1')
        assert read(take(tmp_path / "two", kept=tmp_path / "kept")) == model_hub.files
        before = model_hub.sent
        assert read(take(tmp_path / "three", kept=tmp_path / "kept")) == model_hub.files
        assert model_hub.sent == before
