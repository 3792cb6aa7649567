"""A server for all tests of a file, each of which looks only at jobs of its own; and a command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from core.store.s3_options import S3Options
from secateur import Client
from tests.buckets import new_bucket
from tests.clients import KINDS, Connect
from tests.commands import Run, runner
from tests.faults.farm import Farm
from tests.served import Served, served


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take longer than the small runs of tests: only those marked `plots` have them drawn."""
    if not request.node.get_closest_marker("plots"):
        monkeypatch.setattr("core.report.build.all_plots", lambda *_: [])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes a client, of either kind in turn."""
    return KINDS[request.param]


@pytest.fixture
def client(connect: Connect, server: Served) -> Iterator[Client]:
    with connect(server.url) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(s3: str) -> S3Options:
    """An empty bucket for all tests of a file."""
    return new_bucket(s3)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A database, a store and a broker; who uses it starts the workers."""
    made = Farm(tmp_path_factory.mktemp("farm"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for database and store, which the environment names and nobody has made."""
    monkeypatch.setenv("SECATEUR_DATABASE_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("SECATEUR_STORE_URL", (tmp_path / "new" / "store").as_uri())
    monkeypatch.delenv("SECATEUR_API_KEY", raising=False)
    return tmp_path


@pytest.fixture
def keys(deployment: Path) -> Iterator[KeyStore]:
    """The keys of `deployment`, in a database that is ready."""
    url = f"sqlite:///{deployment}/jobs.db"
    migrate(url)
    with KeyStore.open(url) as store:
        yield store
