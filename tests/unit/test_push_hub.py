"""Pushing to a hub: whole, once, resumed, verified, and refused by name."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.destinations.errors import PushError, PushRefused, PushUnavailable
from core.destinations.hub_errors import named_errors
from core.destinations.places import HubModel, parse_destination
from core.destinations.push import Wishes, push
from core.errors import BadRequest, CorruptObject
from core.result import Result
from tests.hub_uploads import TOKEN, Repo, UploadHub, uploads
from tests.results import write_result

PLACE = HubModel("org/pruned")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with uploads(monkeypatch) as served:
        yield served


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return Result.open(write_result(tmp_path / "result", weights=5000))


def model_files(result: Result) -> dict[str, bytes]:
    return {
        file.name.removeprefix("model/"): (result.folder / file.name).read_bytes()
        for file in result.below("model/")
    }


def held(hub: UploadHub, branch: str = "main", name: str = "org/pruned") -> dict[str, bytes]:
    files = dict(hub.repos[name].files(branch) or {})
    files.pop(".gitattributes", None)
    return files


def shard(result: Result) -> str:
    """SHA-256 of one large file."""
    return result.file("model/model-00002-of-00002.safetensors").sha256


def send(result: Result, place: HubModel = PLACE, **wishes: object) -> list[tuple[float, str]]:
    told: list[tuple[float, str]] = []
    push(result, place, Wishes(**wishes), lambda done, text: told.append((done, text)))  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize("part_size", [None, 2000])
def test_a_push_is_one_commit_with_the_model_as_root(
    hub: UploadHub, result: Result, part_size: int | None
) -> None:
    hub.part_size = part_size
    told = send(result, message="the first")
    assert held(hub) == model_files(result)
    assert hub.repos["org/pruned"].messages == ["initial", "the first"]
    assert not hub.repos["org/pruned"].private
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (1.0, "committing")
    assert "sending model-00001-of-00002.safetensors" in [text for _, text in told]


def test_a_second_push_sends_and_commits_nothing(hub: UploadHub, result: Result) -> None:
    first = push(result, PLACE, Wishes(), lambda *_: None)
    commits = len(hub.repos["org/pruned"].commits)
    second = push(result, PLACE, Wishes(), lambda *_: None)
    assert set(first.sent) == set(second.kept) == set(model_files(result))
    assert (second.sent, second.bytes, second.revision) == ((), 0, first.revision)
    assert len(hub.repos["org/pruned"].commits) == commits
    assert len(hub.uploads()) == len(set(hub.uploads())) == 2


def test_only_what_differs_is_sent_and_nothing_is_deleted(
    hub: UploadHub, result: Result, tmp_path: Path
) -> None:
    send(result)
    repo = hub.repos["org/pruned"]
    same_size = b" " * result.file("model/config.json").bytes
    other = {"model.safetensors": b"dense" * 512, "notes.txt": b"mine", "config.json": same_size}
    repo.commit("main", {**held(hub), **other}, "by hand")
    before = hub.uploads()
    pushed = push(result, PLACE, Wishes(), lambda *_: None)
    assert pushed.sent == ("config.json",)
    assert hub.uploads() == before
    assert held(hub) == {**other, **model_files(result)}


def test_a_branch_is_made_and_main_is_left_alone(hub: UploadHub, result: Result) -> None:
    place = parse_destination("hf://org/pruned@half/sparse")
    assert isinstance(place, HubModel)
    send(result, place)
    assert held(hub, "half/sparse") == model_files(result)
    assert held(hub) == {}
    send(result, place)


def test_an_upload_that_is_cut_once_is_repeated(hub: UploadHub, result: Result) -> None:
    hub.faults[shard(result)] = "cut once"
    send(result)
    assert held(hub) == model_files(result)


def test_a_push_that_broke_off_goes_on(hub: UploadHub, result: Result) -> None:
    hub.faults[shard(result)] = "cut"
    with pytest.raises(PushUnavailable, match="broke off") as raised:
        send(result)
    assert "secret" not in str(raised.value)
    assert held(hub) == {}
    assert len(hub.large) == 1
    hub.faults.clear()
    first = hub.uploads()[0]
    send(result)
    assert held(hub) == model_files(result)
    assert hub.uploads().count(first) == 1


def test_a_wrong_byte_there_is_noticed(hub: UploadHub, result: Result) -> None:
    # Uploaded in order, kept altered, and the large-file protocol asks for its size alone.
    result_file = result.file("model/model-00001-of-00002.safetensors")
    hub.faults[result_file.sha256] = "altered"
    with pytest.raises(PushError, match="model-00001-of-00002"):
        send(result)


def test_what_the_repository_ignores_is_noticed(hub: UploadHub, result: Result) -> None:
    hub.ignored = {"config.json"}
    with pytest.raises(PushError, match=r"config\.json.*\n?.*gitignore"):
        send(result)


def test_a_wrong_byte_here_sends_nothing(hub: UploadHub, result: Result) -> None:
    file = result.folder / "model" / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x02")
    with pytest.raises(CorruptObject, match="model-00002"):
        send(result)
    assert hub.asked == []


@pytest.mark.parametrize("status", [409, 412])
def test_a_commit_that_collides_is_tried_again(hub: UploadHub, result: Result, status: int) -> None:
    hub.statuses["/commit/"] = [status, status]
    send(result)
    assert held(hub) == model_files(result)
    assert len(hub.uploads()) == len(set(hub.uploads()))
    hub.repos.clear()
    hub.statuses["/commit/"] = [status] * 9
    with pytest.raises(PushError, match="others keep committing"):
        send(result)


@pytest.mark.parametrize(
    ("word", "status", "kind", "said"),
    [
        ("/commit/", 403, PushRefused, "may not write"),
        ("preupload", 401, PushRefused, "HF_TOKEN"),
        ("/commit/", 413, PushError, "quota"),
        ("objects/batch", 507, PushError, "no room"),
        ("GET /api/models", 500, PushUnavailable, "HF_ENDPOINT"),
        ("/commit/", 503, PushUnavailable, "broke off"),
        ("paths-info", 429, PushUnavailable, "too many"),
        ("/commit/", 418, PushError, "418"),
    ],
)
def test_answers_have_names(
    hub: UploadHub, result: Result, word: str, status: int, kind: type[PushError], said: str
) -> None:
    hub.statuses[word] = [status] * 20
    with pytest.raises(PushError, match=said) as raised:
        send(result)
    assert type(raised.value) is kind
    assert "hf://org/pruned" in str(raised.value)
    if "org/pruned" in hub.repos:
        assert held(hub) == {}


def test_strangers_and_other_people_s_organisations(
    hub: UploadHub, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PushRefused, match="may not write"):
        send(result, HubModel("elsewhere/pruned"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PushRefused, match="HF_TOKEN"):
        send(result)
    assert TOKEN not in str(hub.asked)


def test_a_private_push_never_goes_public(hub: UploadHub, result: Result) -> None:
    send(result, HubModel("org/quiet"), private=True)
    assert hub.repos["org/quiet"].private
    hub.repos["org/pruned"] = Repo(private=False)
    hub.repos["org/pruned"].commit("main", {}, "initial")
    with pytest.raises(PushRefused, match="is public"):
        send(result, private=True)
    assert held(hub) == {}


def test_a_hub_that_is_not_there(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(PushUnavailable, match="HF_ENDPOINT"):
        send(result)


def test_no_signature_is_repeated() -> None:
    link = "https://bucket/lfs/abc?X-Amz-Signature=0123 (timed out)"
    with (
        pytest.raises(PushUnavailable, match=r"bucket/lfs/abc\?… \(timed out") as raised,
        named_errors("hf://org/a"),
    ):
        raise RuntimeError("Error while uploading") from OSError(link)
    assert "0123" not in str(raised.value)


def test_the_card_carries_metadata_that_a_hub_reads(hub: UploadHub, result: Result) -> None:
    send(result)
    assert "POST /api/validate-yaml" in hub.asked
    card = held(hub)["README.md"].decode()
    assert card.startswith("---\n")
    assert '- "pruned"' in card
    damaged = result.folder / "model" / "README.md"
    damaged.write_text("no front matter")
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() != result.file("model/README.md").sha256


@pytest.mark.parametrize(
    "text",
    [
        "hf://org", "hf://datasets/org/name", "hf://org/name@", "hf://org/../name", "org/name",
        "hf://org/name@a..b", "hf://org/name@a.lock", "hf://-x/name", "gs://bucket/x", "s3://",
        "s3://b?x=y", "hf://org/name@-flag", "file:///tmp/x", "",
    ],
)  # fmt: skip
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(BadRequest, match="hf://ORG/NAME"):
        parse_destination(text)


def test_a_repository_of_models_takes_no_reports(result: Result) -> None:
    with pytest.raises(BadRequest, match="model alone"):
        push(result, PLACE, Wishes(what="all"), lambda *_: None)
