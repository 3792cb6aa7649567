"""Pushing to a bucket: whole, once, verified, and never over other bytes unasked."""

from pathlib import Path

import pytest

from core.destinations.places import Bucket, parse_destination
from core.destinations.push import Wishes, push
from core.errors import BadRequest, OutputExists, StoreUnavailable
from core.result import Result
from core.settings import Settings
from core.store.manifest import MANIFEST
from core.store.s3 import S3Store
from core.store.s3_options import S3Options
from secateur.cli._checkup import Finding, checkup
from tests.buckets import new_bucket
from tests.commands import run
from tests.hub_uploads import uploads
from tests.results import write_result
from tests.served import served


@pytest.fixture
def bucket(s3: str) -> S3Options:
    return new_bucket(s3, prefix="pruned/a")


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return Result.open(write_result(tmp_path / "result"))


def send(result: Result, bucket: S3Options, **wishes: object) -> tuple[str, ...]:
    return push(result, Bucket(bucket), Wishes(**wishes), lambda *_: None).sent  # type: ignore[arg-type]


def names_of(result: Result) -> list[str]:
    return [file.name for file in result.manifest.files]


def test_the_whole_layout_the_manifest_last(result: Result, bucket: S3Options) -> None:
    sent = send(result, bucket)
    assert sent == (*names_of(result), MANIFEST)
    store = S3Store(bucket)
    for file in result.manifest.files:
        assert store.recorded(file.name) == (file.bytes, file.sha256)
        assert store.read_bytes(file.name) == (result.folder / file.name).read_bytes()
    assert send(result, bucket) == ()


def test_the_model_alone(result: Result, bucket: S3Options) -> None:
    assert set(send(result, bucket, what="model")) == {
        name.removeprefix("model/") for name in names_of(result) if name.startswith("model/")
    }


def test_what_is_missing_is_sent_and_nothing_is_deleted(result: Result, bucket: S3Options) -> None:
    store = S3Store(bucket)
    store.put_bytes("notes.txt", b"mine")
    first = result.manifest.files[0].name
    store.put_file(first, result.folder / first)
    assert first not in send(result, bucket)
    assert store.read_bytes("notes.txt") == b"mine"


def test_other_bytes_are_overwritten_only_on_request(result: Result, bucket: S3Options) -> None:
    store = S3Store(bucket)
    store.put_bytes("model/config.json", b"{}")
    with pytest.raises(OutputExists, match=r"model/config\.json.*--force"):
        send(result, bucket)
    assert [info.key for info in store.list("")] == ["model/config.json"]
    assert "model/config.json" in send(result, bucket, replace=True)
    assert store.read_bytes("model/config.json") != b"{}"


def test_an_object_whose_digest_was_not_recorded_is_not_trusted(
    result: Result, bucket: S3Options
) -> None:
    config = (result.folder / "model" / "config.json").read_bytes()
    store = S3Store(bucket)
    store._client.put_object(Bucket=bucket.bucket, Key="pruned/a/model/config.json", Body=config)
    assert store.recorded("model/config.json") == (len(config), None)
    with pytest.raises(OutputExists):
        send(result, bucket)


def test_a_bucket_that_is_not_there(result: Result, bucket: S3Options, s3: str) -> None:
    place = parse_destination(f"s3://no-such-bucket/x?endpoint={s3}")
    assert isinstance(place, Bucket)
    with pytest.raises(StoreUnavailable, match="Create the bucket") as raised:
        push(result, place, Wishes(), lambda *_: None)
    assert "SECATEUR_STORE_URL" not in str(raised.value)


def test_an_analysis_has_no_model_to_push(tmp_path: Path, bucket: S3Options) -> None:
    folder = write_result(tmp_path / "analysis", without=("model/",))
    with pytest.raises(BadRequest, match="holds no model"):
        send(Result.open(folder), bucket)


def test_the_command_pushes_a_folder_and_a_job(
    tmp_path: Path, result: Result, bucket: S3Options,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    place = f"s3://{bucket.bucket}/folder?endpoint={bucket.endpoint}"
    first = run(capsys, "push", str(result.folder), place, "--json")
    assert first.status == 0, first.err
    assert first.json()["url"] == f"s3://{bucket.bucket}/folder"
    assert set(first.json()["sent"]) == {*names_of(result), MANIFEST}
    assert "sending model/config.json" in first.err
    again = run(capsys, "push", str(result.folder), place)
    assert "0 files sent" in again.out
    files = {name: (result.folder / name).read_bytes() for name in names_of(result)}
    (tmp_path / "server").mkdir()
    with served(tmp_path / "server") as server, uploads(monkeypatch) as hub:
        job_id = server.succeeded(files)
        keep = tmp_path / "kept"
        arguments = ["push", job_id, "hf://org/pruned", "--url", server.url, "--keep", str(keep)]
        pushed = run(capsys, *arguments, "--private", "--message", "as asked", "--json")
        assert pushed.status == 0, pushed.err
        repo = hub.repos["org/pruned"]
        assert pushed.json()["revision"] == repo.branches["main"]
        assert repo.private
        assert repo.messages[-1] == "as asked"
        assert (keep / MANIFEST).is_file()
        refused = run(capsys, *arguments, "--what", "all")
        assert refused.status == BadRequest.exit_status
        assert "model alone" in refused.err


def test_the_doctor_looks_at_what_jobs_may_push_to(
    bucket: S3Options, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    places = [f"s3://{name}?endpoint={s3}" for name in (bucket.bucket, "no-such-bucket")]

    def findings() -> list[Finding]:
        settings = Settings.model_validate({"push_destinations": [*places, "hf://org"]})
        found = checkup(settings, "http://127.0.0.1:1")
        return [each for each in found if each.name == "push destination"]

    ok, broken, hub = findings()
    assert (ok.status, ok.detail) == ("ok", places[0])
    assert (broken.status, "Create the bucket" in broken.remedy) == ("broken", True)
    assert "SECATEUR_STORE_URL" not in broken.remedy
    assert (hub.status, "HF_TOKEN_PATH" in hub.remedy) == ("missing", True)
    (tmp_path / "token").write_text("hf_secret")
    assert (findings()[2].status, findings()[2].detail) == ("ok", "hf://org")
    assert list(S3Store(bucket).list("")) == []
