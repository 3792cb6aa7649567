"""Whole jobs whose results go to a bucket, by workers and lines that fail."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.jobs.states import State
from core.store import manifest
from core.store.s3 import S3Store
from core.store.s3_options import MIN_PART
from tests.buckets import CREDENTIALS, new_bucket
from tests.faults.farm import Farm, await_gone, family, runner_of, wait_for
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy

BYTES = 4 * MIN_PART + 1000  # five parts


@pytest.fixture
def proxy(seaweed: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(seaweed) as made:
        yield made


@pytest.fixture
def farm(seaweed: str, proxy: FaultyProxy, tmp_path: Path) -> Iterator[Farm]:
    """Its workers reach the store through the proxy, and send one part after the other."""
    bucket = new_bucket(seaweed).bucket
    query = f"endpoint={proxy.url}&part_size={MIN_PART}&threads=1"
    made = Farm(tmp_path, store_url=f"s3://{bucket}/results?{query}")
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Upload:
    """Of one epoch's only large file."""

    farm: Farm
    proxy: FaultyProxy
    job_id: str
    epoch: int

    @property
    def request(self) -> str:
        store = self.farm.store
        assert isinstance(store, S3Store)
        folder = f"{store.options.bucket}/{store.options.prefix}"
        return f"PUT /{folder}/jobs/{self.job_id}/{self.epoch}/model/weights.bin"

    @property
    def parts(self) -> int:
        """How many the proxy has seen."""
        return sum(seen.startswith(self.request) for seen in self.proxy.seen)

    def hold_after(self, parts: int) -> None:
        self.proxy.fault = Fault("hold", self.request, times=99, skip=parts)

    def await_held(self, parts: int) -> None:
        wait_for(lambda: self.parts > parts, f"part {parts + 1} to be held", self.farm.tail)


def assert_delivered(farm: Farm, job_id: str) -> None:
    """Every file is there, intact, under the winning epoch alone, and no upload is left."""
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    folder = f"jobs/{job_id}/{job.epoch}"
    made = manifest.read(farm.store.read_bytes(f"{folder}/manifest.json"))
    for file in made.files:
        data = farm.store.read_bytes(f"{folder}/{file.name}")
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    wait_for(lambda: farm.jobs.unswept() == [], "the sweep", farm.tail)
    names = [f"{folder}/{file.name}" for file in made.files]
    assert sorted(farm.keys(job_id)) == sorted([*names, f"{folder}/manifest.json"])
    assert unfinished(farm) == []


def unfinished(farm: Farm) -> list[str]:
    store = farm.store
    assert isinstance(store, S3Store)
    found = store._client.list_multipart_uploads(Bucket=store.options.bucket)
    return [upload["Key"] for upload in found.get("Uploads", ())]


def test_a_runner_killed_within_an_upload_is_followed_by_one_that_goes_on(
    farm: Farm, proxy: FaultyProxy
) -> None:
    worker = farm.start_worker()
    job_id = farm.post(bytes=str(BYTES))
    upload = Upload(farm, proxy, job_id, 1)
    upload.hold_after(2)
    upload.await_held(2)
    wait_for(lambda: farm.get(job_id).phase == "publishing", "the run's end", farm.tail)
    killed = runner_of(worker)
    assert len(unfinished(farm)) == 1
    killed.kill()
    await_gone([killed])
    proxy.fault = None
    assert_delivered(farm, job_id)
    job = farm.get(job_id)
    assert (job.attempt, job.epoch) == (1, 1)
    assert upload.parts == 2 + 1 + 3  # of which the one in the middle got nowhere
    logs = [event.message for event in farm.events(job_id) if event.type == "log"]
    assert any("SIGKILL" in line and "goes on its way into the store" in line for line in logs)


def test_a_runner_that_is_killed_every_time_loses_its_attempt(
    farm: Farm, proxy: FaultyProxy
) -> None:
    worker = farm.start_worker()
    job_id = farm.post(bytes=str(BYTES))
    first = Upload(farm, proxy, job_id, 1)
    first.hold_after(0)
    seen: set[int] = set()
    for parts in (0, 1, 2):
        first.await_held(parts)
        wait_for(lambda: farm.get(job_id).phase == "publishing", "the run's end", farm.tail)
        killed = runner_of(worker)
        seen.add(killed.pid)
        killed.kill()
        await_gone([killed])
    proxy.fault = None
    assert_delivered(farm, job_id)
    assert len(seen) == 3
    assert farm.get(job_id).attempt == 2


def test_a_worker_and_its_runner_are_killed_within_an_upload(
    farm: Farm, proxy: FaultyProxy
) -> None:
    worker = farm.start_worker()
    job_id = farm.post(bytes=str(BYTES))
    upload = Upload(farm, proxy, job_id, 1)
    upload.hold_after(2)
    upload.await_held(2)
    processes = family(worker.pid)
    for process in reversed(processes):
        process.kill()
    worker.wait()
    await_gone(processes)
    assert len(unfinished(farm)) == 1
    proxy.fault = None
    farm.start_worker()
    assert_delivered(farm, job_id)
    assert (farm.get(job_id).attempt, farm.get(job_id).epoch) == (2, 2)


def test_shards_are_sent_while_the_run_goes_on(farm: Farm, proxy: FaultyProxy) -> None:
    farm.start_worker()
    job_id = farm.post(bytes=str(BYTES), seconds="8")
    shard = f"jobs/{job_id}/1/model/weights.bin"
    wait_for(lambda: farm.keys(job_id) == [shard], "the shard", farm.tail)
    assert farm.get(job_id).phase != "publishing"
    assert_delivered(farm, job_id)
    assert Upload(farm, proxy, job_id, 1).parts == 5


def test_a_job_is_cancelled_within_an_upload(farm: Farm, proxy: FaultyProxy) -> None:
    farm.settings |= {"CANCEL_GRACE_SECONDS": "60"}
    worker = farm.start_worker()
    job_id = farm.post(bytes=str(BYTES))
    upload = Upload(farm, proxy, job_id, 1)
    upload.hold_after(2)
    upload.await_held(2)
    wait_for(lambda: farm.get(job_id).phase == "publishing", "the run's end", farm.tail)
    run, began = family(runner_of(worker).pid), time.monotonic()
    farm.jobs.cancel("default", job_id, datetime.now(UTC))
    assert farm.await_end(job_id).state is State.CANCELLED
    await_gone(run)
    assert time.monotonic() - began < 20  # far from its grace, and from the line's timeout
    wait_for(lambda: farm.jobs.unswept() == [], "the sweep", farm.tail)
    assert farm.keys(job_id) == []
    assert unfinished(farm) == []


def test_renewed_credentials_are_found_by_a_running_worker(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    _write(file, "of last year")
    farm.start_worker()
    refused = farm.await_end(farm.post())
    assert (refused.state, refused.attempt) == (State.FAILED, 1)
    assert refused.error is not None
    assert refused.error.code == "store-unavailable"
    assert "SignatureDoesNotMatch" in refused.error.message
    assert "AWS_SECRET_ACCESS_KEY" in refused.error.remedy
    wait_for(lambda: farm.jobs.unswept() != [], "a sweep that failed")
    _write(file, CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    job = farm.await_end(farm.post())
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    manifest.read(farm.store.read_bytes(f"jobs/{job.id}/1/manifest.json"))
    # The worker's main process has had the same client from its start.
    wait_for(lambda: farm.jobs.unswept() == [], "a sweep that succeeds", farm.tail)


def _write(file: Path, secret: str) -> None:
    key = CREDENTIALS["AWS_ACCESS_KEY_ID"]
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")


def test_after_a_fork_a_store_has_connections_of_its_own(seaweed: str) -> None:
    store = S3Store(new_bucket(seaweed))
    store.put_bytes("k", b"before")
    before = id(store._client)
    child = os.fork()
    if not child:
        mine = id(store._client) != before and store.read_bytes("k") == b"before"
        os._exit(0 if mine else 1)
    assert store.read_bytes("k") == b"before"
    assert id(store._client) == before
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
