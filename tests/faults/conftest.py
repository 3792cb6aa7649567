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


@pytest.fixture(scope="module")
def bucket(s3: str) -> S3Options:
    return new_bucket(s3)


@pytest.fixture
def line(s3: str, bucket: S3Options, tmp_path: Path) -> Iterator[Line]:
    near = replace(bucket, prefix=tmp_path.name)
    with faulty_proxy(s3) as proxy:
        yield Line(S3Store(near), S3Store(replace(near, endpoint=proxy.url, attempts=2)), proxy)
