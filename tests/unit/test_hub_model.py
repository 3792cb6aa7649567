"""Models of the hub: pinned to a commit, judged before they come, and every way a hub can fail."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import hub_model
from core.crew import nobody
from core.errors import (
    BadRequest,
    BrokenCheckpoint,
    Cancelled,
    DiskFull,
    ModelNotFound,
    SecateurError,
    SourceRefused,
    SourceUnavailable,
    UnsafeModel,
)
from core.hub_line import Line, Patience
from core.hub_sources import HubSource
from core.intake_errors import ModelTooLarge
from core.models.checkpoint import Checkpoint
from core.models.intake import Intake, content_revision
from tests.checkpoints import tiny_llada
from tests.model_hub import COMMIT, Fault, ModelHub, asked_by_default, entry

SOURCE = HubSource("org/name", "main")
SHARD = "model.safetensors"


@pytest.fixture
def model_hub(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[ModelHub]:
    with asked_by_default(monkeypatch) as hub:
        hub.put(tiny_model)
        yield hub


def take(
    folder: Path,
    source: HubSource = SOURCE,
    *,
    copies: int = 1,
    most: int | None = None,
    kept: Path | None = None,
) -> Intake:
    folder.mkdir(exist_ok=True)
    return hub_model.take_in(source, folder, nobody, copies=copies, most=most, kept=kept)


def read(intake: Intake) -> dict[str, bytes]:
    """Every file, whole."""
    Checkpoint(intake).fetch_all()
    files = (*intake.weights, *intake.auxiliary)
    return {file.as_posix(): (intake.folder / file).read_bytes() for file in files}


class TestWhatIsRead:
    def test_is_what_the_hub_has_at_the_commit_of_the_revision(
        self, model_hub: ModelHub, tmp_path: Path
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
        self, model_hub: ModelHub, tmp_path: Path
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.revisions["main"] = "f" * 40
        assert read(intake) == model_hub.files

    def test_of_tensors_only_when_they_are_asked_for(
        self, model_hub: ModelHub, tmp_path: Path
    ) -> None:
        checkpoint = Checkpoint(take(tmp_path / "far"))
        before = model_hub.sent
        place = checkpoint.places["model.transformer.ff_out.weight"]
        checkpoint.read("model.transformer.ff_out.weight")
        assert model_hub.sent - before == place.end - place.begin

    def test_in_parts_from_the_place_that_the_hub_named_once(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.filling.PART", 3_000)
        assert read(take(tmp_path / "far")) == model_hub.files
        assert len(model_hub.downloads(SHARD)) > 3 * hub_model.THREADS
        # At most once for each of the threads that begin at the same moment.
        assert model_hub.signed <= hub_model.THREADS + 2
        assert model_hub.connections <= 2 * (hub_model.THREADS + 1)

    def test_also_when_a_signed_address_expires(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.filling.PART", 50_000)
        monkeypatch.setattr("core.hub_model.THREADS", 1)
        model_hub.expiring = True
        assert read(take(tmp_path / "far")) == model_hub.files

    def test_page_by_page_of_the_hub_that_was_asked(
        self, model_hub: ModelHub, tmp_path: Path
    ) -> None:
        model_hub.page = 2
        assert read(take(tmp_path / "far")) == model_hub.files
        assert sum("/tree/" in line for line in model_hub.asked) == 1 + len(model_hub.files) // 2

    def test_shard_by_shard(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.files.clear()
        model_hub.put(tiny_llada(tmp_path / "sharded", shards=3))
        intake = take(tmp_path / "far")
        assert len(intake.weights) == 3
        assert read(intake) == model_hub.files

    def test_never_a_pickle_nor_another_copy_of_the_weights(
        self, model_hub: ModelHub, tmp_path: Path
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


class TestRefusedBeforeAnythingLargeComes:
    def refused(
        self, kind: type[SecateurError], folder: Path, copies: int = 1, most: int | None = None
    ) -> SecateurError:
        with pytest.raises(kind) as caught:
            take(folder, copies=copies, most=most)
        assert type(caught.value) is kind
        return caught.value

    @pytest.fixture(autouse=True)
    def no_shard(self, model_hub: ModelHub) -> Iterator[None]:
        yield
        assert model_hub.downloads(SHARD) == []

    def test_more_bytes_than_are_allowed(self, model_hub: ModelHub, tmp_path: Path) -> None:
        total = sum(map(len, model_hub.files.values()))
        error = self.refused(ModelTooLarge, tmp_path / "far", most=total - 1)
        assert f"has {total} bytes in {len(model_hub.files)} files; {total - 1} are" in str(error)
        assert "SECATEUR_MAX_MODEL_BYTES" in error.remedy

    def test_a_shard_that_is_too_large(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.listing.MAX_SHARD_BYTES", 1000)
        error = self.refused(ModelTooLarge, tmp_path / "far")
        assert f"{SHARD} has {len(model_hub.files[SHARD])} bytes; 1000 are allowed" in str(error)

    def test_a_huge_file_that_is_no_weights(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.files["archive.zip"] = b"x"
        model_hub.sizes["archive.zip"] = 2 << 30
        assert "archive.zip" in str(self.refused(BrokenCheckpoint, tmp_path / "far"))

    def test_a_disk_that_is_too_small(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def check_room(folder: Path, needed: int) -> None:
            raise DiskFull(f"{needed} bytes")

        monkeypatch.setattr("core.hub_model.check_room", check_room)
        total = sum(map(len, model_hub.files.values()))
        assert str(2 * total) in str(self.refused(DiskFull, tmp_path / "far", copies=2))

    def test_more_files_than_are_allowed(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.listing.MAX_FILES", 2)
        assert "more than 2 files" in str(self.refused(UnsafeModel, tmp_path / "far"))

    @pytest.mark.parametrize(
        "name",
        ["../a", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "a//b", ".", "\ud800", "x" * 300],
    )
    def test_names_that_are_none(self, model_hub: ModelHub, tmp_path: Path, name: str) -> None:
        model_hub.listed = [entry(n, b) for n, b in model_hub.files.items()]
        model_hub.listed.append({**entry("a", b""), "path": name})
        assert "no plain file name" in str(self.refused(UnsafeModel, tmp_path / "far"))
        assert not (tmp_path / "a").exists()

    def test_a_name_that_is_file_and_folder(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.files |= {"a": b"", "a/b": b""}
        assert "as a file and as a folder" in str(self.refused(UnsafeModel, tmp_path / "far"))

    def test_only_pickles(self, model_hub: ModelHub, tmp_path: Path) -> None:
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
    def test_a_listing_that_is_none(self, model_hub: ModelHub, tmp_path: Path, odd: object) -> None:
        model_hub.listed = [odd]
        assert "lists a file without" in str(self.refused(SourceUnavailable, tmp_path / "far"))

    def test_a_listing_without_an_end(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.hub_model._MAX_PAGES", 2)
        model_hub.page = 1
        assert "has no end" in str(self.refused(SourceUnavailable, tmp_path / "far"))


class TestTheHubThatIsAsked:
    @pytest.mark.parametrize("status", [401, 403])
    def test_that_refuses(self, model_hub: ModelHub, tmp_path: Path, status: int) -> None:
        model_hub.faults["/revision/"] = Fault("refused", status=status)
        with pytest.raises(ModelNotFound, match=f"refuses access \\({status}\\).*HF_TOKEN"):
            take(tmp_path / "far")

    def test_that_lets_nobody_in_without_a_token(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.token = "hf_read"
        with pytest.raises(ModelNotFound, match="HF_TOKEN"):
            take(tmp_path / "far")
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        assert read(take(tmp_path / "near")) == model_hub.files

    def test_gets_the_token_and_nobody_else_does(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        read(take(tmp_path / "far"))
        at_store = [token for path, token in model_hub.tokens if path.startswith("/signed/")]
        at_hub = [token for path, token in model_hub.tokens if not path.startswith("/signed/")]
        assert set(at_hub) == {"Bearer hf_read"}
        assert set(at_store) == {None}

    @pytest.mark.parametrize("revision", ["none", "f" * 40])
    def test_that_does_not_have_it(
        self, model_hub: ModelHub, tmp_path: Path, revision: str
    ) -> None:
        with pytest.raises(ModelNotFound, match=r"not on the hub \(404\).*model\.revision"):
            take(tmp_path / "far", HubSource("org/name", revision))
        with pytest.raises(ModelNotFound, match="not on the hub"):
            take(tmp_path / "far", HubSource("org/other", "main"))

    def test_that_answers_for_another(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.called = "other/name"
        with pytest.raises(ModelNotFound, match="answers for 'other/name' instead"):
            take(tmp_path / "far")
        model_hub.called = "Org/Name"  # letter case is no other name
        take(tmp_path / "far")

    def test_that_has_it_elsewhere(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.faults["/revision/"] = Fault("moved", location="/api/models/other/name")
        with pytest.raises(ModelNotFound, match=r"under another name.*other/name"):
            take(tmp_path / "far")

    @pytest.mark.parametrize("word", ["/revision/", "/tree/", "config.json", "/signed/"])
    @pytest.mark.parametrize(
        "fault", [Fault("refused", 2), Fault("refused", 2, status=429), Fault("hung up", 2)],
        ids=["503", "429", "hung up"],
    )  # fmt: skip
    def test_that_comes_back_is_asked_again(
        self, model_hub: ModelHub, tmp_path: Path, word: str, fault: Fault
    ) -> None:
        model_hub.faults[word] = fault
        assert read(take(tmp_path / "far")) == model_hub.files

    @pytest.mark.parametrize("word", ["/revision/", "/tree/", "config.json", "/signed/"])
    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (Fault("refused", 99), "answers 503"),
            (Fault("refused", 99, status=429), "answers 429"),
            (Fault("refused", 99, status=418), "answers 418"),
            (Fault("hung up", 99), "RemoteProtocolError"),
            (Fault("deaf", 99), "ReadTimeout"),
        ],
    )
    def test_that_stays_away_is_given_up(
        self, model_hub: ModelHub, tmp_path: Path, word: str, fault: Fault, message: str
    ) -> None:
        model_hub.faults[word] = fault
        with pytest.raises(SourceUnavailable, match=message) as caught:
            read(take(tmp_path / "far"))
        assert "HF_ENDPOINT" in caught.value.remedy
        assert "s3cret" not in str(caught.value)

    def test_that_is_none(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.faults["/revision/"] = Fault("nonsense")
        with pytest.raises(SourceUnavailable, match="does not answer in JSON"):
            take(tmp_path / "far")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(SourceUnavailable, match="ConnectError"):
            take(tmp_path / "far")

    def test_that_never_ends(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.faults["/revision/"] = Fault("endless", 9)
        monkeypatch.setattr("core.hub_line.MAX_ANSWER_BYTES", 5_000_000)
        with pytest.raises(SourceUnavailable, match="more than 5000000 bytes"):
            take(tmp_path / "far")
        monkeypatch.setattr("core.hub_line.MAX_ANSWER_SECONDS", -1)
        with pytest.raises(SourceUnavailable, match="no whole answer came"):
            take(tmp_path / "far")

    @pytest.mark.parametrize("sha", [None, "main", 7])
    def test_that_names_no_commit(
        self, model_hub: ModelHub, tmp_path: Path, sha: str | None
    ) -> None:
        model_hub.revisions["main"] = sha or ""
        with pytest.raises(SourceUnavailable, match="names no commit"):
            take(tmp_path / "far")

    def test_that_answers_for_another_commit(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.revisions["f" * 40] = COMMIT
        with pytest.raises(SourceUnavailable, match=f"answers for {COMMIT}"):
            take(tmp_path / "far", HubSource("org/name", "f" * 40))

    @pytest.mark.parametrize("endpoint", ["hub", "ftp://hub", "http://", "http://a:b@hub", "http://hub?a", "http://hub:x"])  # fmt: skip
    def test_by_no_address(self, endpoint: str) -> None:
        with pytest.raises(BadRequest, match="HF_ENDPOINT") as caught:
            Line(endpoint, None)
        assert "a:b" not in str(caught.value)

    def test_whoever_watches_may_stop(self, model_hub: ModelHub, tmp_path: Path) -> None:
        def stop(done: int, of: int) -> None:
            raise Cancelled("stop")

        model_hub.faults["/revision/"] = Fault("deaf", 99)
        with pytest.raises(Cancelled):
            hub_model.take_in(SOURCE, tmp_path, stop, copies=1)


class TestWhereADownloadLeads:
    @pytest.mark.parametrize(
        ("location", "message"),
        [
            ("file:///etc/passwd", "neither http:// nor https://"),
            ("ftp://127.0.0.1/a", "neither http:// nor https://"),
            ("http://user:s3cret@127.0.0.1/a", "a password"),
        ],
    )
    def test_is_judged(
        self, model_hub: ModelHub, tmp_path: Path, location: str, message: str
    ) -> None:
        model_hub.faults["config.json"] = Fault("moved", location=location)
        with pytest.raises(SourceRefused, match=message):
            take(tmp_path / "far")

    @pytest.mark.parametrize("location", ["http://127.0.0.1:port/a", "http://[::1/a"])
    def test_is_no_nonsense(self, model_hub: ModelHub, tmp_path: Path, location: str) -> None:
        model_hub.faults["config.json"] = Fault("moved", 99, location=location)
        with pytest.raises(SourceUnavailable, match="HF_ENDPOINT"):
            take(tmp_path / "far")
        with pytest.raises(SourceRefused, match="no URL"):
            Line(model_hub.url, None)._next(model_hub.url, location)

    def test_has_an_end(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.faults["config.json"] = Fault("moved", 99, location="config.json")
        with pytest.raises(SourceRefused, match="forever"):
            take(tmp_path / "far")

    def test_is_not_out_of_tls(self) -> None:
        with pytest.raises(SourceRefused, match="without TLS"):
            Line("https://hub.test", None)._next("https://hub.test/a", "http://hub.test/a")

    @pytest.mark.parametrize(
        "location",
        ["https://127.0.0.1/a", "https://10.0.0.1/a", "https://169.254.169.254/latest", "https://[::1]/a",
         "https://[::ffff:10.0.0.1]/a", "https://localhost/a", "https://a.localhost/a", "//10.1.1.1/a"],
    )  # fmt: skip
    def test_from_a_public_hub_is_no_private_address(self, location: str) -> None:
        line = Line("https://hub.test", None)
        line._public = True
        with pytest.raises(SourceRefused, match="not of the open internet"):
            line._next("https://hub.test/a", location)

    def test_from_a_public_hub_is_no_name_of_a_private_address(
        self, model_hub: ModelHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name tells nothing: the address is looked at once it is known, before anything is sent."""
        monkeypatch.delenv("HTTP_PROXY", raising=False)
        monkeypatch.delenv("http_proxy", raising=False)
        line = Line("http://hub.test", None, Patience(attempts=1))
        line._public = True
        monkeypatch.setattr("core.hub_line._is_open", lambda host: True)
        before = list(model_hub.asked)
        with pytest.raises(SourceRefused, match="not of the open internet"):
            line._send(f"{model_hub.store}/signed/model.safetensors", {})
        assert model_hub.asked == before

    def test_from_a_hub_nearby_may_be_nearby(self, model_hub: ModelHub, tmp_path: Path) -> None:
        assert model_hub.store != model_hub.url
        assert read(take(tmp_path / "far")) == model_hub.files


class TestALineThatBreaks:
    @pytest.mark.parametrize("kind", ["cut", "stalled"])
    def test_is_mended_and_only_the_rest_is_asked_for(
        self, model_hub: ModelHub, tmp_path: Path, kind: str
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault(kind, 2, at=60_000)
        before = model_hub.sent
        assert read(intake) == model_hub.files
        assert model_hub.sent - before < len(model_hub.files[SHARD])

    @pytest.mark.parametrize("kind", ["cut", "stalled"])
    def test_again_and_again_is_given_up(
        self, model_hub: ModelHub, tmp_path: Path, kind: str
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault(kind, 99, at=100)
        with pytest.raises(SourceUnavailable, match=r"stopped at byte \d+ of \d+, again and again"):
            read(intake)

    def test_or_hardly_carries_anything(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.hub_reader.GRACE_SECONDS", 0.3)
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault("dripping", 99)
        with pytest.raises(SourceUnavailable, match=r"\d+ bytes came in \d+ seconds"):
            read(intake)


class TestBytesThatAreNotThosePublished:
    @pytest.mark.parametrize(
        ("name", "digest"), [("/signed/", "SHA-256"), ("tokenizer.json", "git name")]
    )
    def test_are_noticed(self, model_hub: ModelHub, tmp_path: Path, name: str, digest: str) -> None:
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
        self, model_hub: ModelHub, tmp_path: Path, name: str, kind: str, message: str
    ) -> None:
        model_hub.faults[name] = Fault(kind, 99)
        with pytest.raises(SourceUnavailable, match=message):
            read(take(tmp_path / "far"))

    def test_nor_in_their_place(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.faults["/signed/"] = Fault("other part", 99)
        with pytest.raises(SourceUnavailable, match="not those that were asked for"):
            read(take(tmp_path / "far"))

    def test_but_a_hub_need_not_know_parts(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.faults["/signed/"] = Fault("whole file", 99)
        assert read(take(tmp_path / "far")) == model_hub.files
        monkeypatch.setattr("core.hub_reader.SKIPPED_BYTES", 7)
        with pytest.raises(SourceUnavailable, match="not those that were asked for"):
            read(take(tmp_path / "again"))


class TestKept:
    def test_what_is_there_is_not_asked_for_again(
        self, model_hub: ModelHub, tmp_path: Path
    ) -> None:
        assert read(take(tmp_path / "one", kept=tmp_path / "kept")) == model_hub.files
        before = model_hub.sent
        again = take(tmp_path / "two", kept=tmp_path / "kept")
        assert read(again) == model_hub.files
        assert model_hub.sent == before
        assert again.folder == tmp_path / "kept" / "models" / "org" / "name" / COMMIT / "files"

    def test_nor_what_came_before_a_run_was_lost(
        self, model_hub: ModelHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    def test_is_held_against_its_digest_again(self, model_hub: ModelHub, tmp_path: Path) -> None:
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

    def test_wrong_bytes_are_not_kept(self, model_hub: ModelHub, tmp_path: Path) -> None:
        model_hub.faults["/signed/"] = Fault("altered", 99)
        with pytest.raises(BrokenCheckpoint):
            read(take(tmp_path / "one", kept=tmp_path / "kept"))
        model_hub.faults.clear()
        assert read(take(tmp_path / "two", kept=tmp_path / "kept")) == model_hub.files

    def test_by_one_run_at_a_time(self, model_hub: ModelHub, tmp_path: Path) -> None:
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

    def test_damage_under_a_reader_is_an_error(self, model_hub: ModelHub, tmp_path: Path) -> None:
        reading = take(tmp_path / "one", kept=tmp_path / "kept")
        read(reading)
        damaged = bytearray((reading.folder / SHARD).read_bytes())
        damaged[-3] ^= 1
        (reading.folder / SHARD).write_bytes(damaged)
        with pytest.raises(BrokenCheckpoint, match="is damaged, and another run is reading it"):
            take(tmp_path / "two", kept=tmp_path / "kept")

    def test_a_line_that_a_crash_cut_is_none(self, model_hub: ModelHub, tmp_path: Path) -> None:
        folder = take(tmp_path / "one", kept=tmp_path / "kept").folder
        with (folder.parent / "ranges.jsonl").open("ab") as journal:
            journal.write(b'["model.safetensors", 0, 1')
        assert read(take(tmp_path / "two", kept=tmp_path / "kept")) == model_hub.files
        before = model_hub.sent
        assert read(take(tmp_path / "three", kept=tmp_path / "kept")) == model_hub.files
        assert model_hub.sent == before


def test_threads_end_with_the_run(model_hub: ModelHub, tmp_path: Path) -> None:
    read(take(tmp_path / "far"))
    assert not [
        t for t in threading.enumerate() if t.name.startswith("Thread-") and "member" in t.name
    ]
