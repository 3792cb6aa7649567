"""Whole jobs whose results go to a bucket, by workers and lines that fail."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.states import State
from core.store import manifest
from core.store.s3 import S3Store
from tests.buckets import CREDENTIALS, new_bucket
from tests.faults.farm import Farm, wait_for


@pytest.fixture
def farm(seaweed: str, tmp_path: Path) -> Iterator[Farm]:
    bucket = new_bucket(seaweed).bucket
    made = Farm(tmp_path, store_url=f"s3://{bucket}/results?endpoint={seaweed}")
    try:
        yield made
    finally:
        made.close()


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
