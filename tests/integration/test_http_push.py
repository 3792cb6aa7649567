"""Jobs that push their results, over HTTP and through real workers: refused, pushed, or told why not."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.jobs.states import State
from core.jobs.views import Event
from core.store.manifest import MANIFEST
from core.store.s3 import S3Store
from core.store.s3_options import S3Options
from tests.checkpoints import tiny_llada
from tests.faults.farm import Farm
from tests.integration.test_http_submit import refused
from tests.s3_folders import VERSES
from tests.served import Served, served


@pytest.fixture(scope="module")
def pushing(farm: Farm, bucket: S3Options) -> Iterator[Served]:
    """Results go to one place of the bucket, and may be pushed to another, or to one that is not."""
    at = f"endpoint={bucket.endpoint}"
    store = f"s3://{bucket.bucket}/results?{at}"
    places = (f"s3://{bucket.bucket}/pushed?{at}", f"s3://no-such-bucket?{at}&attempts=1")
    farm.settings |= {
        "STORE_URL": store,
        "PUSH_DESTINATIONS": " ".join(places),
        "MODEL_ROOTS": f"{farm.folder}/models",
        "RUNNER_ENTRY": "",
        "THREADS": "1",
    }
    with served(
        farm.folder, broker_url=farm.broker.url, store_url=store, push_destinations=places
    ) as running:
        farm.start_worker()
        yield running


def submit(server: Served, destination: str) -> str:
    """A small job that is to push there."""
    model = server.folder / "models" / "tiny"
    if not model.exists():
        tiny_llada(model)
    (server.folder / "models" / "verses.txt").write_bytes(VERSES.read_bytes())
    text = (server.folder / "models" / "verses.txt").as_uri()
    answer = server.post(
        {
            "model": {"source": model.as_uri()},
            "sparsity": 0.5,
            "calibration": {"source": text, "samples": 4, "sequence_length": 32},
            "evaluation": {"samples": 4, "speed": False},
            "output": {"push": destination},
        }
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["output"]["push"] == destination
    return str(answer.json()["id"])


def pushed(farm: Farm, job_id: str) -> Event:
    """What the history says about the push, once the job has succeeded."""
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    events = farm.events(job_id)
    (found,) = (event for event in events if "push" in event.data)
    assert events[-1].type == "state"
    assert found.id < events[-1].id
    return found


def test_without_the_setting_a_push_is_refused(server: Served) -> None:
    for destination in ("s3://bucket/prefix", "hf://org/name"):
        body = server.spec(output={"push": destination})
        problem = refused(server.post(body), 422, "destination-refused")
        assert "SECATEUR_PUSH_DESTINATIONS" in problem["remedy"]


def test_only_what_lies_below_is_accepted(pushing: Served, bucket: S3Options) -> None:
    for path in ("", "/results/x", "/pushedX", "/pushed/../x", "/pushed/a?endpoint=http://a"):
        body = pushing.spec(output={"push": f"s3://{bucket.bucket}{path}"})
        refused(pushing.post(body), 422, "destination-refused")
    refused(
        pushing.post(pushing.spec(output={"push": "hf://org/name"})), 422, "destination-refused"
    )
    refused(pushing.post(pushing.spec(output={"push": "https://a"})), 422, "invalid-spec")


def test_a_job_pushes_what_it_stored(pushing: Served, farm: Farm, bucket: S3Options) -> None:
    destination = f"s3://{bucket.bucket}/pushed/one"
    job_id = submit(pushing, destination)
    event = pushed(farm, job_id)
    assert (event.level, event.type) == ("info", "log")
    assert event.data == {"push": destination, "url": destination, "revision": None}
    ours = S3Store(replace(bucket, prefix=f"results/jobs/{job_id}/1"))
    theirs = S3Store(replace(bucket, prefix="pushed/one"))
    # Points to go on from are no part of a result, and lie there until the next sweep.
    names = {key for info in ours.list("") if not (key := info.key).startswith("resume/")}
    assert {info.key for info in theirs.list("")} == names
    assert all(ours.read_bytes(name) == theirs.read_bytes(name) for name in names)
    assert MANIFEST in names
    report = json.loads(ours.read_bytes("report/report.json"))
    assert report["job"]["output"]["push"] == destination


def test_a_push_that_fails_costs_no_job(pushing: Served, farm: Farm) -> None:
    destination = "s3://no-such-bucket/x"
    job_id = submit(pushing, destination)
    event = pushed(farm, job_id)
    assert (event.level, event.data) == (
        "error", {"push": destination, "code": "store-unavailable"},
    )  # fmt: skip
    assert "Create the bucket" in event.message
    assert f"secateur push {job_id} {destination}" in event.message
    assert pushing.http.get(f"/v1/jobs/{job_id}/report").is_success


def test_the_contract_shows_the_field(server: Served) -> None:
    schemas = server.http.get("/openapi.json").json()["components"]["schemas"]
    field = schemas["Output"]["properties"]["push"]
    assert field["description"]
    assert [each.partition("://")[0] for each in field["examples"]] == ["s3", "hf"]
