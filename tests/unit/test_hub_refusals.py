"""Models of the hub that are judged, and refused, before anything large of them comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BrokenCheckpoint, DiskFull, SecateurError, SourceUnavailable, UnsafeModel
from core.intake_errors import ModelTooLarge
from tests.hub import FakeHub, entry
from tests.hub_models import SHARD, take


class TestRefusedBeforeAnythingLargeComes:
    def refused(
        self, kind: type[SecateurError], folder: Path, copies: int = 1, most: int | None = None
    ) -> SecateurError:
        with pytest.raises(kind) as caught:
            take(folder, copies=copies, most=most)
        assert type(caught.value) is kind
        return caught.value

    @pytest.fixture(autouse=True)
    def no_shard(self, model_hub: FakeHub) -> Iterator[None]:
        yield
        assert model_hub.downloads(SHARD) == []

    def test_more_bytes_than_are_allowed(self, model_hub: FakeHub, tmp_path: Path) -> None:
        total = sum(map(len, model_hub.files.values()))
        error = self.refused(ModelTooLarge, tmp_path / "far", most=total - 1)
        assert f"has {total} bytes in {len(model_hub.files)} files; {total - 1} are" in str(error)
        assert "SECATEUR_MAX_MODEL_BYTES" in error.remedy

    def test_a_shard_that_is_too_large(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.listing.MAX_SHARD_BYTES", 1000)
        error = self.refused(ModelTooLarge, tmp_path / "far")
        assert f"{SHARD} has {len(model_hub.files[SHARD])} bytes; 1000 are allowed" in str(error)

    def test_a_huge_file_that_is_no_weights(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.files["archive.zip"] = b"x"
        model_hub.sizes["archive.zip"] = 2 << 30
        assert "archive.zip" in str(self.refused(BrokenCheckpoint, tmp_path / "far"))

    def test_a_disk_that_is_too_small(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def check_room(folder: Path, needed: int) -> None:
            raise DiskFull(f"{needed} bytes")

        monkeypatch.setattr("core.hub_model.check_room", check_room)
        total = sum(map(len, model_hub.files.values()))
        assert str(2 * total) in str(self.refused(DiskFull, tmp_path / "far", copies=2))

    def test_more_files_than_are_allowed(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.listing.MAX_FILES", 2)
        assert "more than 2 files" in str(self.refused(UnsafeModel, tmp_path / "far"))

    @pytest.mark.parametrize(
        "name",
        ["../a", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "a//b", ".", "x" * 300],
    )
    def test_names_that_are_none(self, model_hub: FakeHub, tmp_path: Path, name: str) -> None:
        model_hub.listed = [entry(n, b) for n, b in model_hub.files.items()]
        model_hub.listed.append({**entry("a", b""), "path": name})
        assert "no plain file name" in str(self.refused(UnsafeModel, tmp_path / "far"))
        assert not (tmp_path / "a").exists()

    def test_a_name_that_is_file_and_folder(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.files |= {"a": b"", "a/b": b""}
        assert "as a file and as a folder" in str(self.refused(UnsafeModel, tmp_path / "far"))

    def test_only_pickles(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.files["pytorch_model.bin"] = model_hub.files.pop(SHARD)
        assert "pytorch_model.bin" in str(self.refused(UnsafeModel, tmp_path / "far"))
        assert "/signed/" not in "".join(model_hub.asked)

    @pytest.mark.parametrize(
        "odd",
        [
            7, None, {}, {"path": "a"}, {"path": 1, "size": 1, "oid": "0" * 40},
            {"path": "a", "size": -1, "oid": "0" * 40}, {"path": "a", "size": True, "oid": "0" * 40},
            {"path": "a", "size": 1, "oid": "abc"}, {"path": "a", "size": 1, "oid": None},
            {"path": "a", "size": 1, "oid": "0" * 40, "lfs": {}},
            {"path": "a", "size": 1, "oid": "0" * 40, "lfs": {"oid": "0" * 40, "size": 1}},
            {"path": "a", "size": 1, "oid": "0" * 40, "lfs": []},
        ],
    )  # fmt: skip
    def test_a_listing_that_is_none(self, model_hub: FakeHub, tmp_path: Path, odd: object) -> None:
        model_hub.listed = [odd]
        assert "lists a file without" in str(self.refused(SourceUnavailable, tmp_path / "far"))

    def test_a_listing_without_an_end(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.hub_repository._MAX_PAGES", 2)
        model_hub.page = 1
        assert "has no end" in str(self.refused(SourceUnavailable, tmp_path / "far"))
