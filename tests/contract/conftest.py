"""One store for every database."""

from collections.abc import Iterator

import pytest

from core.jobs.migrate import migrate
from core.jobs.store import JobStore


@pytest.fixture
def jobs(database_url: str) -> Iterator[JobStore]:
    migrate(database_url)
    with JobStore.open(database_url) as store:
        yield store
