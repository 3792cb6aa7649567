"""The way to a hub: every way in which one can fail, and where it may send us."""

from pathlib import Path

import pytest

from core import hub_model
from core.errors import Cancelled, ModelNotFound, SourceRefused, SourceUnavailable
from core.hub_line import Line, Patience
from core.hub_sources import HubSource
from core.settings import Settings
from secateur.cli._checkup import Finding, checkup
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault
from tests.hub_models import SHARD, SOURCE, read, take


def test_the_doctor_looks_whether_it_answers(
    model_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))

    def findings(**given: str) -> list[Finding]:
        found = checkup(Settings.model_validate(given), "http://127.0.0.1:1")
        return [each for each in found if each.name == "hub"]

    assert findings() == []
    (found,) = findings(hub_models="hf://org")
    assert (found.status, "for hf://org; without a token" in found.detail) == ("ok", True)
    (tmp_path / "token").write_text("hf_read")
    assert "token" not in findings(hub_models="hf://org")[0].detail
    model_hub.faults["/api/models"] = Fault("refused", 99)
    (found,) = findings(hub_models="hf://org")
    assert (found.status, "503" in found.detail) == ("missing", True)


class TestTheHubThatIsAsked:
    @pytest.mark.parametrize("status", [401, 403])
    def test_that_refuses(self, model_hub: FakeHub, tmp_path: Path, status: int) -> None:
        model_hub.faults["/revision/"] = Fault("refused", status=status)
        with pytest.raises(ModelNotFound, match=f"refuses access \\({status}\\).*HF_TOKEN"):
            take(tmp_path / "far")

    def test_that_lets_nobody_in_without_a_token(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.token = "hf_read"
        with pytest.raises(ModelNotFound, match="HF_TOKEN"):
            take(tmp_path / "far")
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        assert read(take(tmp_path / "near")) == model_hub.files

    def test_gets_the_token_and_nobody_else_does(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        read(take(tmp_path / "far"))
        at_store = [token for path, token in model_hub.tokens if path.startswith("/signed/")]
        at_hub = [token for path, token in model_hub.tokens if not path.startswith("/signed/")]
        assert set(at_hub) == {"Bearer hf_read"}
        assert set(at_store) == {None}

    @pytest.mark.parametrize("revision", ["none", "f" * 40])
    def test_that_does_not_have_it(self, model_hub: FakeHub, tmp_path: Path, revision: str) -> None:
        with pytest.raises(ModelNotFound, match=r"not on the hub \(404\).*model\.revision"):
            take(tmp_path / "far", HubSource("org/name", revision))
        with pytest.raises(ModelNotFound, match="not on the hub"):
            take(tmp_path / "far", HubSource("org/other", "main"))

    def test_that_answers_for_another(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.called = "other/name"
        with pytest.raises(ModelNotFound, match="answers for 'other/name' instead"):
            take(tmp_path / "far")
        model_hub.called = "Org/Name"  # letter case is no other name
        take(tmp_path / "far")

    def test_that_has_it_elsewhere(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.faults["/revision/"] = Fault("moved", location="/api/models/other/name")
        with pytest.raises(ModelNotFound, match=r"under another name.*other/name"):
            take(tmp_path / "far")

    @pytest.mark.parametrize("word", ["/revision/", "/tree/", "config.json", "/signed/"])
    @pytest.mark.parametrize(
        "fault", [Fault("refused", 2), Fault("refused", 2, status=429), Fault("hung up", 2)],
        ids=["503", "429", "hung up"],
    )  # fmt: skip
    def test_that_comes_back_is_asked_again(
        self, model_hub: FakeHub, tmp_path: Path, word: str, fault: Fault
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
        self, model_hub: FakeHub, tmp_path: Path, word: str, fault: Fault, message: str
    ) -> None:
        model_hub.faults[word] = fault
        with pytest.raises(SourceUnavailable, match=message) as caught:
            read(take(tmp_path / "far"))
        assert "HF_ENDPOINT" in caught.value.remedy
        assert "s3cret" not in str(caught.value)

    def test_that_is_none(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model_hub.faults["/revision/"] = Fault("replaced")
        with pytest.raises(SourceUnavailable, match="is not JSON"):
            take(tmp_path / "far")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(SourceUnavailable, match="ConnectError"):
            take(tmp_path / "far")

    def test_that_never_ends(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        self, model_hub: FakeHub, tmp_path: Path, sha: str | None
    ) -> None:
        model_hub.revisions["main"] = sha or ""
        with pytest.raises(SourceUnavailable, match="names no commit"):
            take(tmp_path / "far")

    def test_that_answers_for_another_commit(self, model_hub: FakeHub, tmp_path: Path) -> None:
        model_hub.revisions["f" * 40] = COMMIT
        with pytest.raises(SourceUnavailable, match=f"answers for {COMMIT}"):
            take(tmp_path / "far", HubSource("org/name", "f" * 40))

    @pytest.mark.parametrize("endpoint", ["hub", "ftp://hub", "http://", "http://a:b@hub", "http://hub?a", "http://hub:x"])  # fmt: skip
    def test_by_no_address(self, endpoint: str) -> None:
        with pytest.raises(SourceUnavailable, match="HF_ENDPOINT") as caught:
            Line(endpoint, None)
        assert "a:b" not in str(caught.value)

    def test_whoever_watches_may_stop(self, model_hub: FakeHub, tmp_path: Path) -> None:
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
        self, model_hub: FakeHub, tmp_path: Path, location: str, message: str
    ) -> None:
        model_hub.faults["config.json"] = Fault("moved", location=location)
        with pytest.raises(SourceRefused, match=message):
            take(tmp_path / "far")

    @pytest.mark.parametrize("location", ["http://127.0.0.1:port/a", "http://[::1/a"])
    def test_is_no_nonsense(self, model_hub: FakeHub, tmp_path: Path, location: str) -> None:
        model_hub.faults["config.json"] = Fault("moved", 99, location=location)
        with pytest.raises(SourceUnavailable, match="HF_ENDPOINT"):
            take(tmp_path / "far")
        with pytest.raises(SourceRefused, match="no URL"):
            Line(model_hub.url, None)._next(model_hub.url, location)

    def test_has_an_end(self, model_hub: FakeHub, tmp_path: Path) -> None:
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
        self, model_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name tells nothing: the address is looked at once it is known, before anything is sent."""
        monkeypatch.delenv("HTTP_PROXY", raising=False)
        monkeypatch.delenv("http_proxy", raising=False)
        line = Line("http://hub.test", None, Patience(attempts=1))
        line._public = True
        monkeypatch.setattr("core.hub_line.is_open", lambda host: True)
        before = list(model_hub.asked)
        with pytest.raises(SourceRefused, match="not of the open internet"):
            line._send(f"{model_hub.store}/signed/model.safetensors", {})
        assert model_hub.asked == before

    def test_from_a_hub_nearby_may_be_nearby(self, model_hub: FakeHub, tmp_path: Path) -> None:
        assert model_hub.store != model_hub.url
        assert read(take(tmp_path / "far")) == model_hub.files


class TestALineThatBreaks:
    @pytest.mark.parametrize("kind", ["cut", "stalled"])
    def test_is_mended_and_only_the_rest_is_asked_for(
        self, model_hub: FakeHub, tmp_path: Path, kind: str
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault(kind, 2, at=60_000)
        before = model_hub.sent
        assert read(intake) == model_hub.files
        assert model_hub.sent - before < len(model_hub.files[SHARD])

    @pytest.mark.parametrize("kind", ["cut", "stalled"])
    def test_again_and_again_is_given_up(
        self, model_hub: FakeHub, tmp_path: Path, kind: str
    ) -> None:
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault(kind, 99, at=100)
        with pytest.raises(SourceUnavailable, match=r"stopped at byte \d+ of \d+, again and again"):
            read(intake)

    def test_or_hardly_carries_anything(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.hub_reader.GRACE_SECONDS", 0.3)
        intake = take(tmp_path / "far")
        model_hub.faults["/signed/"] = Fault("dripping", 99)
        with pytest.raises(SourceUnavailable, match=r"\d+ bytes came in \d+ seconds"):
            read(intake)
