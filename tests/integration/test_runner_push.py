"""What the runner does with a result that is to go elsewhere: told, idempotent, and soon stopped."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest
from pydantic import BaseModel

import core.destinations
from core.result import Result
from core.spec import parse_spec
from core.store.s3 import S3Store
from core.store.s3_options import MIN_PART, S3Options
from tests.buckets import new_bucket
from tests.faults.farm import clean_environment, wait_for
from tests.faulty_proxy import Fault, faulty_proxy
from tests.hub_uploads import UploadHub, uploads
from tests.results import write_result
from workers.protocol import Done, Moved, Remark, Request, Stopped
from workers.runner import run

MANIFEST_KEY = "jobs/job_p/1/manifest.json"


@pytest.fixture
def bucket(s3: str) -> S3Options:
    return new_bucket(s3)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with uploads(monkeypatch) as served:
        yield served


def request_for(folder: Path, destination: str, *places: str) -> Request:
    spec = {"model": {"source": "example:x"}, "sparsity": 0.5, "output": {"push": destination}}
    (folder / "scratch").mkdir(exist_ok=True)
    return Request(
        job_id="job_p", epoch=1, spec=parse_spec(spec), supervisor=os.getppid(),
        entry="tests.results:work", store_url=f"file://{folder}/store", scratch=folder / "scratch",
        device="cpu", threads=None, memory_budget=None, model_roots=(), push_destinations=places,
    )  # fmt: skip


def remark_of(request: Request) -> Remark:
    """The one line that the history of a job gets that succeeds."""
    told: list[BaseModel] = []
    done = run(request, told.append, Event())
    assert isinstance(done, Done)
    assert done.manifest_key == MANIFEST_KEY
    moves = [line for line in told if isinstance(line, Moved)]
    assert [move.fraction for move in moves] == sorted(move.fraction for move in moves)
    (remark,) = (line for line in told if isinstance(line, Remark))
    return remark


def reached(bucket: S3Options, endpoint: str | None = None) -> str:
    return f"s3://{bucket.bucket}?endpoint={endpoint or bucket.endpoint}"


def test_a_hub_gets_the_model(tmp_path: Path, hub: UploadHub) -> None:
    remark = remark_of(request_for(tmp_path, "hf://org/pruned@half", "hf://org"))
    commit = hub.repos["org/pruned"].branches["half"]
    assert remark.level == "info"
    assert remark.data == {
        "push": "hf://org/pruned@half",
        "url": f"{hub.url}/org/pruned/tree/{commit}",
        "revision": commit,
    }
    assert f"/tree/{commit}" in remark.message


def test_a_hub_that_refuses_is_an_error_of_the_history(
    tmp_path: Path, hub: UploadHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of-somebody-else")
    remark = remark_of(request_for(tmp_path, "hf://org/pruned", "hf://org"))
    assert (remark.level, remark.data["code"]) == ("error", "push-refused")
    assert "HF_TOKEN" in remark.message
    assert "secateur push job_p hf://org/pruned" in remark.message
    assert "hf_of" not in remark.message
    assert hub.repos == {}


def test_a_worker_without_the_client_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "core.destinations.hub", None)
    monkeypatch.delattr(core.destinations, "hub", raising=False)
    remark = remark_of(request_for(tmp_path, "hf://org/pruned", "hf://org"))
    assert (remark.level, remark.data["code"]) == ("error", "push-failed")
    assert "huggingface_hub is not installed" in remark.message


def test_a_worker_judges_by_its_own_list(tmp_path: Path, bucket: S3Options) -> None:
    remark = remark_of(request_for(tmp_path, f"s3://{bucket.bucket}/a"))
    assert (remark.level, remark.data["code"]) == ("error", "destination-refused")
    assert "SECATEUR_PUSH_DESTINATIONS" in remark.message


def test_what_nobody_foresaw_keeps_its_words_for_the_log(
    tmp_path: Path, bucket: S3Options, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("https://host/?signature=secret")

    monkeypatch.setattr("core.destinations.bucket.push", fail)
    remark = remark_of(request_for(tmp_path, f"s3://{bucket.bucket}/a", reached(bucket)))
    assert (remark.level, remark.data["code"]) == ("error", "internal")
    assert "ZeroDivisionError" in remark.message
    assert "secret" not in remark.message
    assert "secret" in caplog.text


def test_a_runner_that_follows_one_pushes_again_and_sends_nothing_twice(
    tmp_path: Path, bucket: S3Options
) -> None:
    """The first was killed after its push, before anybody heard of it."""
    request = request_for(tmp_path, f"s3://{bucket.bucket}/a", reached(bucket))
    first = remark_of(request)
    held = {info.key: info.modified for info in S3Store(bucket).list("")}
    again = remark_of(request)
    assert "0 files sent" in again.message
    assert first.data == again.data
    assert {info.key: info.modified for info in S3Store(bucket).list("")} == held


def test_another_result_does_not_take_the_place_of_one(tmp_path: Path, bucket: S3Options) -> None:
    request = request_for(tmp_path, f"s3://{bucket.bucket}/a", reached(bucket))
    assert remark_of(request).level == "info"
    shutil.rmtree(request.scratch)
    store = S3Store(bucket)
    store.put_bytes("a/model/config.json", b"theirs")
    remark = remark_of(request_for(tmp_path, f"s3://{bucket.bucket}/a", reached(bucket)))
    assert (remark.level, remark.data["code"]) == ("error", "output-exists")
    assert store.read_bytes("a/model/config.json") == b"theirs"


def test_a_job_that_is_cancelled_while_it_pushes_stops_at_once(
    tmp_path: Path, bucket: S3Options, s3: str
) -> None:
    stop = Event()
    with faulty_proxy(s3) as proxy:
        proxy.fault = Fault("hold", "PUT ", times=99)
        place = reached(bucket, proxy.url) + "&attempts=1&timeout=5"
        request = request_for(tmp_path, f"s3://{bucket.bucket}/a", place)
        told: list[BaseModel] = []

        def tell(line: BaseModel) -> None:
            told.append(line)
            if isinstance(line, Moved) and "sending" in line.message and not stop.is_set():
                Timer(0.3, stop.set).start()

        began = time.monotonic()
        assert run(request, tell, stop) == Stopped()
        assert time.monotonic() - began < 3
    assert (tmp_path / "store" / "objects" / "jobs" / "job_p" / "1" / "manifest.json").is_file()
    assert not [line for line in told if isinstance(line, Remark)]


def test_a_runner_killed_while_it_pushes_is_followed_by_one_that_goes_on(
    tmp_path: Path, bucket: S3Options, s3: str
) -> None:
    with faulty_proxy(s3) as proxy:
        # One part after the other, of which the third never gets through.
        shard = f"PUT /{bucket.bucket}/a/model/model-00001"
        proxy.fault = Fault("hold", shard, times=99, skip=2)
        place = reached(bucket, proxy.url) + f"&part_size={MIN_PART}&threads=1"
        request = request_for(tmp_path, f"s3://{bucket.bucket}/a", place)
        write_result(request.scratch / "out", weights=2 * MIN_PART + 1000)

        def parts() -> int:
            return sum(line.startswith(shard) for line in proxy.seen)

        request = request.model_copy(update={"supervisor": os.getpid()})
        command = [sys.executable, "-m", "workers.runner"]
        with subprocess.Popen(command, env=clean_environment(), stdin=subprocess.PIPE) as runner:
            assert runner.stdin is not None
            runner.stdin.write(request.model_dump_json().encode())
            runner.stdin.close()
            wait_for(lambda: parts() == 3, "the third part")
            runner.kill()
        proxy.fault = None
        request = request.model_copy(update={"supervisor": os.getppid()})
        assert remark_of(request).level == "info"
        assert parts() == 3 + 1
    store = S3Store(bucket)
    assert list(store.uploads("")) == []
    for file in Result.open(request.scratch / "out").manifest.files:
        assert store.recorded(f"a/{file.name}") == (file.bytes, file.sha256)
