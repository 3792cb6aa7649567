"""Models on a hub, looked at over plain HTTP: what is asked for, by whom, and every way it can fail."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.errors import HubUnavailable, ModelNotFound, SecateurError, UnsafeModel
from core.estimates.errors import SourceTooSlow
from core.estimates.facts import ModelFacts, read_facts
from core.estimates.files import Deadline, LocalFiles
from core.estimates.hub_files import opened_hub
from core.hub_sources import HubSource
from tests.family_checkpoints import tiny
from tests.header_hub import COMMIT, Fault, ModelHub, serving

MODEL = HubSource("org/name", "main")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three times as large as what is read of a shard at first."""
    made = tmp_path_factory.mktemp("hub") / "model"
    return tiny(made, "dream", shards=2, dtype=lambda _: torch.float32, vocab_size=6000)


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        running.files = {p.name: p.read_bytes() for p in folder.iterdir()}
        yield running


def look(seconds: float = 20.0) -> ModelFacts:
    deadline = Deadline("hf://org/name", seconds)
    with opened_hub(MODEL, deadline) as files:
        return read_facts(files, deadline)


def test_a_model_on_a_hub_is_what_it_is_in_a_folder(hub: ModelHub, folder: Path) -> None:
    found = look()
    there = read_facts(LocalFiles(folder), Deadline("folder", 20))
    assert found.revision == COMMIT
    for name in ("parameters", "weight_bytes", "copied_bytes", "has_tokenizer", "dimensions"):
        assert getattr(found, name) == getattr(there, name), name
    assert hub.sent < sum(map(len, hub.files.values())) / 2


def test_everything_is_read_at_the_commit_and_the_token_stays_at_home(hub: ModelHub) -> None:
    look()
    for path, authorization in hub.asked:
        if path.startswith("/storage/"):
            assert authorization is None
        else:
            assert authorization == "Bearer hf_secret"
            assert COMMIT in path or path.startswith("/api/models/org/name/revision/main")


def test_a_hub_that_knows_no_ranges_is_read_from_the_beginning(hub: ModelHub) -> None:
    hub.fault = "no ranges"
    assert look().parameters > 0


FAULTS: dict[Fault, tuple[type[SecateurError], str]] = {
    "other part": (HubUnavailable, "another part"),
    "short": (HubUnavailable, "sends [0-9]+ bytes of [0-9]+"),
    "endless": (HubUnavailable, "without end"),
    "to elsewhere": (HubUnavailable, "to where nothing is read from"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hub_that_answers_wrongly(hub: ModelHub, fault: Fault) -> None:
    hub.fault = fault
    kind, message = FAULTS[fault]
    with pytest.raises(kind, match=message):
        look()


@pytest.mark.parametrize("fault", ["stalls", "drips"])
def test_a_hub_that_is_slow_is_given_up_in_time(hub: ModelHub, fault: Fault) -> None:
    hub.fault = fault
    start = time.monotonic()
    with pytest.raises(SourceTooSlow):
        look(seconds=1.0)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ModelNotFound), (403, ModelNotFound), (404, ModelNotFound), (429, HubUnavailable),
     (500, HubUnavailable)],
)  # fmt: skip
def test_a_hub_that_refuses(hub: ModelHub, status: int, kind: type[SecateurError]) -> None:
    hub.status = status
    with pytest.raises(kind) as caught:
        look()
    assert caught.value.remedy
    assert "hf_secret" not in str(caught.value)


def test_a_hub_that_is_away(hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(HubUnavailable, match="ConnectError"):
        look()


def listed(*siblings: object, sha: object = COMMIT) -> dict[str, object]:
    return {"sha": sha, "siblings": list(siblings)}


LISTINGS: list[tuple[object, type[SecateurError]]] = [
    (b"[", HubUnavailable),
    (b"[" * 100_000, HubUnavailable),
    (b"{" + b" " * 9_000_000 + b"}", HubUnavailable),
    ([1], HubUnavailable),
    (listed(sha="main"), HubUnavailable),
    (listed(sha=None), HubUnavailable),
    ({"sha": COMMIT, "siblings": {}}, UnsafeModel),
    (listed("a"), UnsafeModel),
    (listed({"rfilename": "../../etc/passwd", "size": 1}), UnsafeModel),
    (listed({"rfilename": "config.json"}), HubUnavailable),
    (listed({"rfilename": "config.json", "size": True}), HubUnavailable),
    (listed({"rfilename": "config.json", "size": -1}), HubUnavailable),
    (listed({"rfilename": "config.json", "size": 2**60}), HubUnavailable),
    (listed({"rfilename": "pytorch_model.bin", "size": 1}), UnsafeModel),
]  # fmt: skip


@pytest.mark.parametrize(("listing", "kind"), LISTINGS, ids=lambda v: repr(v)[:40])
def test_a_listing_that_is_none(hub: ModelHub, listing: object, kind: type[SecateurError]) -> None:
    hub.listing = listing
    with pytest.raises(kind):
        look()
