"""Real processes for tests that kill them, and lines for tests that break them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.store.s3 import S3Store
from core.store.s3_options import S3Options
from tests.buckets import new_bucket
from tests.faults.farm import Farm
from tests.faults.s3_line import Line
from tests.faulty_proxy import faulty_proxy


@pytest.fixture
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """For a test that kills; it starts its workers itself."""
    made = Farm(tmp_path_factory.mktemp("farm"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """With one worker, for tests that leave it alive and idle."""
    made = Farm(tmp_path_factory.mktemp("staffed"))
    made.start_worker()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module", params=["s3", "seaweed"], ids=["moto", "seaweed"])
def server(request: pytest.FixtureRequest) -> str:
    """The URL of one S3 server after the other."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def bucket(server: str) -> S3Options:
    return new_bucket(server)


@pytest.fixture
def line(server: str, bucket: S3Options, tmp_path: Path) -> Iterator[Line]:
    near = replace(bucket, prefix=tmp_path.name)
    with faulty_proxy(server) as proxy:
        yield Line(S3Store(near), S3Store(replace(near, endpoint=proxy.url, attempts=2)), proxy)
