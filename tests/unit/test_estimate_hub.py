"""Models on a hub, looked at for an estimate: how much of them is read, and in what time.

What a hub can do wrong is the matter of test_hub_line.py and its neighbours: the reader is the same.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.errors import ModelNotFound, SecateurError, SourceRefused, SourceUnavailable, UnsafeModel
from core.estimates.errors import SourceTooSlow
from core.estimates.facts import ModelFacts, read_facts
from core.estimates.files import Deadline, LocalFiles
from core.estimates.hub_files import opened_hub
from core.hub_sources import HubSource
from tests.family_checkpoints import tiny
from tests.hub import COMMIT, SIGNED, FakeHub, asked_by_default, entry
from tests.hub_faults import Fault

MODEL = HubSource("org/name", "main")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three times as large as what is read of a shard at first."""
    made = tmp_path_factory.mktemp("hub") / "model"
    return tiny(made, "dream", shards=2, dtype=lambda _: torch.float32, vocab_size=6000)


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with asked_by_default(monkeypatch) as running:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        running.put(folder)
        yield running


def look(seconds: float = 20.0) -> ModelFacts:
    deadline = Deadline("hf://org/name", seconds)
    with opened_hub(MODEL, deadline) as files:
        return read_facts(files, deadline)


def test_a_model_on_a_hub_is_what_it_is_in_a_folder(hub: FakeHub, folder: Path) -> None:
    found = look()
    there = read_facts(LocalFiles(folder), Deadline("folder", 20))
    assert found.revision == COMMIT
    for name in ("parameters", "weight_bytes", "copied_bytes", "has_tokenizer", "dimensions"):
        assert getattr(found, name) == getattr(there, name), name
    assert hub.sent < sum(map(len, hub.files.values())) / 2


def test_everything_is_read_at_the_commit_and_the_token_stays_at_home(hub: FakeHub) -> None:
    look()
    for path, authorization in hub.tokens:
        if path.startswith(SIGNED):
            assert authorization is None
        else:
            assert authorization == "Bearer hf_secret"
            assert COMMIT in path or path == "/api/models/org/name/revision/main"


def test_a_hub_that_knows_no_ranges_is_read_from_the_beginning(hub: FakeHub) -> None:
    hub.faults[""] = Fault("whole file", 99)
    assert look().parameters > 0


@pytest.mark.parametrize("word", ["/revision/", "config.json", SIGNED])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("refused", 9, status=401), ModelNotFound),
        (Fault("refused", 9), SourceUnavailable),
        (Fault("deaf", 9), SourceUnavailable),
    ],
    ids=["refused", "failing", "deaf"],
)
def test_a_hub_is_asked_once(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    fault: Fault,
    kind: type[SecateurError],
) -> None:
    """Whoever waits for an answer can ask again; whatever Retry-After says."""
    monkeypatch.setattr("core.estimates.hub_files.SILENCE", 0.3)
    rests: list[float] = []
    monkeypatch.setattr("core.hub_line.Line.rest", lambda line, seconds: rests.append(seconds))
    hub.faults[word] = fault
    with pytest.raises(kind) as caught:
        look()
    assert rests == []
    assert caught.value.remedy
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(("word", "kind"), [("/tree/", "deaf"), ("config.json", "stalled"), ("config.json", "dripping"), (SIGNED, "dripping")])  # fmt: skip
def test_a_hub_that_is_slow_is_given_up_in_time(hub: FakeHub, word: str, kind: str) -> None:
    hub.faults[word] = Fault(kind, 99)
    start = time.monotonic()
    with pytest.raises(SourceTooSlow, match="within 1 seconds"):
        look(seconds=1.0)
    assert time.monotonic() - start < 3


def test_a_hub_that_sends_elsewhere_is_not_followed(hub: FakeHub) -> None:
    hub.faults["config.json"] = Fault("moved", 9, location="ftp://127.0.0.1/model")
    with pytest.raises(SourceRefused, match="neither http:// nor https://"):
        look()


@pytest.mark.parametrize("name", ["../../etc/passwd", "pytorch_model.bin"])
def test_what_a_run_would_refuse_is_refused(hub: FakeHub, name: str) -> None:
    hub.listed = [{**entry("model.bin", b""), "path": name}]
    with pytest.raises(UnsafeModel):
        look()
