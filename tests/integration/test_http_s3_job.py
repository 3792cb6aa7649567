"""A job over HTTP whose model, text and results all lie in buckets, carried out by a real worker."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.jobs.states import State
from core.store.s3_options import S3Options
from secateur import Client
from tests.checkpoints import tiny_llada
from tests.faults.farm import Farm
from tests.integration.test_http_submit import refused
from tests.s3_folders import VERSES, prune, put, put_folder, reading
from tests.served import Served, served


@pytest.fixture(scope="module")
def server(farm: Farm, bucket: S3Options) -> Iterator[Served]:
    """Sources may lie below `open` of the bucket, results go elsewhere in it."""
    store = f"s3://{bucket.bucket}/results?endpoint={bucket.endpoint}"
    place = f"s3://{bucket.bucket}/open?endpoint={bucket.endpoint}"
    farm.settings |= {
        "STORE_URL": store,
        "SOURCE_BUCKETS": place,
        "RUNNER_ENTRY": "",
        "THREADS": "1",
    }
    with served(
        farm.folder, broker_url=farm.broker.url, store_url=store, source_buckets=(place,)
    ) as running:
        yield running


def test_a_whole_job(farm: Farm, server: Served, bucket: S3Options, tmp_path: Path) -> None:
    folder = tiny_llada(tmp_path / "model", shards=2)
    model = put_folder(bucket, "open/models/tiny", folder, sha256=True)
    text = put(bucket, "open/verses.txt", VERSES.read_bytes())
    farm.start_worker()
    posted = server.post(
        {
            "model": {"source": model},
            "sparsity": 0.5,
            "calibration": {"source": text, "samples": 4, "sequence_length": 32},
            "evaluation": {"samples": 4, "speed": False},
        }
    )
    job_id = posted.json()["id"]
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    with Client(server.url) as client:
        client.download(job_id, tmp_path / "far")
    options = replace(reading(bucket), model_roots=None)
    prune(folder.as_uri(), VERSES.as_uri(), tmp_path / "near", options)
    for shard in folder.glob("*.safetensors"):
        near, far = (
            (tmp_path / name / "model" / shard.name).read_bytes() for name in ("near", "far")
        )
        assert near == far
    assert not list((farm.folder / "work").iterdir())


@pytest.mark.parametrize("section", ["model", "calibration"])
@pytest.mark.parametrize("key", ["results/jobs/a.txt", "openly/a.txt", "open/../results/a.txt"])
def test_only_what_lies_below_is_accepted(
    server: Served, bucket: S3Options, section: str, key: str
) -> None:
    source = {section: {"source": f"s3://{bucket.bucket}/{key}"}}
    refused(server.post(server.spec() | source), 422, "source-refused")
    chosen = f"s3://{bucket.bucket}/open/a.txt?endpoint=http://169.254.169.254"
    refused(server.post(server.spec() | {section: {"source": chosen}}), 422, "source-refused")
