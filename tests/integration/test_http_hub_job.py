"""A job over HTTP on a model of the hub: what the API lets pass, and what a real worker makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.states import State
from core.store import manifest
from secateur import Client
from tests.checkpoints import tiny_llada
from tests.faults.farm import Farm
from tests.hub import COMMIT, FakeHub, serving
from tests.hub_faults import Fault
from tests.integration.test_http_submit import refused
from tests.s3_folders import VERSES
from tests.served import Served, served

PLACES = ("hf://org/name", "hf://GSAI-ML")
TOKEN = "hf_read_s3cr3t"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """Private: only who has the token may read."""
    with pytest.MonkeyPatch.context() as patch, serving() as hub:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", TOKEN)
        hub.token = TOKEN
        hub.put(tiny_llada(tmp_path_factory.mktemp("hub") / "model", shards=2))
        yield hub


@pytest.fixture(scope="module")
def server(farm: Farm, hub: FakeHub) -> Iterator[Served]:
    farm.settings |= {
        "RUNNER_ENTRY": "",
        "THREADS": "1",
        "HUB_MODELS": " ".join(PLACES),
        "MODEL_ROOTS": str(VERSES.parent),
        "HUB_CACHE": f"{farm.folder}/kept",
        "MAX_MODEL_BYTES": "1000000",
    }
    with served(farm.folder, broker_url=farm.broker.url, hub_models=PLACES) as running:
        farm.start_worker()
        yield running


def spec_for(source: str, **model: str) -> dict[str, object]:
    return {
        "model": {"source": source, **model},
        "sparsity": 0.5,
        "calibration": {"samples": 4, "sequence_length": 32},
        "evaluation": {"samples": 4, "speed": False},
    }


def test_a_whole_job(farm: Farm, server: Served, hub: FakeHub, tmp_path: Path) -> None:
    job_id = server.post(spec_for("hf://org/name", revision="v1")).json()["id"]
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, (job.error, farm.tail())
    with Client(server.url) as client:
        client.download(job_id, tmp_path / "far")
    found = manifest.read((tmp_path / "far" / "manifest.json").read_bytes())
    assert found.revision == COMMIT
    assert (tmp_path / "far/model/config.json").read_bytes() == hub.files["config.json"]
    fetched = [event.message for event in farm.events(job_id) if "MB" in event.message]
    assert fetched, "no progress in bytes"
    assert TOKEN not in farm.tail()
    assert {token for path, token in hub.tokens if path.startswith("/signed/")} == {None}


def test_a_job_that_fails_says_why(farm: Farm, server: Served, hub: FakeHub) -> None:
    hub.faults["/revision/main"] = Fault("refused", 99, status=401)
    job = farm.await_end(server.post(spec_for("hf://org/name")).json()["id"])
    hub.faults.clear()
    assert job.state is State.FAILED
    assert job.error is not None
    assert job.error.code == "model-not-found"
    assert "HF_TOKEN" in job.error.remedy


def test_a_model_that_is_too_large_fails_by_name(farm: Farm, server: Served, hub: FakeHub) -> None:
    hub.sizes["model-00001-of-00002.safetensors"] = 10_000_000
    job = farm.await_end(server.post(spec_for("hf://org/name")).json()["id"])
    hub.sizes.clear()
    assert job.error is not None
    assert job.error.code == "model-too-large"
    assert "SECATEUR_MAX_MODEL_BYTES" in job.error.remedy


@pytest.mark.parametrize(
    "source", ["hf://org/other", "hf://organ/name", "hf://org/name/x", "hf://org", "hf://org/name@..", "hf://datasets/org/name"]
)  # fmt: skip
def test_only_what_the_operator_names_is_accepted(server: Served, source: str) -> None:
    refused(server.post(spec_for(source)), 422, "source-refused")


def test_a_server_reads_no_hub_unless_told(tmp_path: Path) -> None:
    with served(tmp_path) as closed:
        problem = refused(closed.post(spec_for("hf://org/name")), 422, "source-refused")
        assert "SECATEUR_HUB_MODELS" in problem["remedy"]
