"""Fixtures that more than one test file needs."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from core.hub_line import Patience
from core.telemetry import fields, logs
from tests.buckets import credentials, moto_server
from tests.checkpoints import tiny_llada
from tests.hub import FakeHub, asked_by_default
from tests.postgres import PostgresServer, running_postgres
from tests.seaweed import seaweed_server


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that sets up logging within this process has it for its own test only."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.TALKATIVE}
    monkeypatch.setattr(fields, "_ALWAYS", {})
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture(scope="session")
def reference_vectors() -> Path:
    """Numerics of the published implementation, kept outside the repository.

    They are looked for in SECATEUR_VECTORS, else in a folder `shared/vectors` beside the checkout;
    with SECATEUR_REQUIRE_VECTORS set their absence is a failure instead of a skip.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "vectors"
    folder = Path(os.environ.get("SECATEUR_VECTORS") or beside)
    if (folder / "llada_tiny" / "model.safetensors").is_file():
        return folder
    if os.environ.get("SECATEUR_REQUIRE_VECTORS"):
        pytest.fail(f"reference vectors are required, and absent from {folder}")
    pytest.skip("reference vectors are absent; tests against the float64 oracle stand in for them")


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A random LLaDA checkpoint of two blocks, in one file."""
    return tiny_llada(tmp_path / "model")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on this machine with a small data set, which a library that loses patience soon asks."""
    monkeypatch.setattr("core.hub.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with asked_by_default(monkeypatch, with_store=False) as served:
        huggingface_hub.close_session()
        served.files = {
            "README.md": b"# a data set",
            "data/train-00001-of-00002.txt": b"second",
            "data/train-00000-of-00002.txt": b"first",
            "data/test-00000-of-00001.txt": b"never",
        }
        yield served
        huggingface_hub.close_session()


@pytest.fixture
def model_hub(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[FakeHub]:
    """A hub on this machine with `tiny_model` as org/name, and runs that lose patience soon."""
    patience = Patience(attempts=3, silence=0.3, pause=0.0)
    monkeypatch.setattr("core.hub_model.PATIENCE", patience)
    with asked_by_default(monkeypatch) as served:
        served.put(tiny_model)
        yield served


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server on this machine, which starts when the first test asks for it."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same of a server that is stricter: it checks signatures, and writes to disk."""
    with seaweed_server(tmp_path_factory.mktemp("seaweed")) as url:
        yield url


@pytest.fixture(scope="module")
def s3(s3_server: str) -> Iterator[str]:
    """`s3_server`, with credentials for it in the environment."""
    with credentials():
        yield s3_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL on this machine, which starts when the first test asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture(scope="module")
def seaweed(seaweed_url: str) -> Iterator[str]:
    """`seaweed_url`, with credentials for it in the environment."""
    with credentials():
        yield seaweed_url
