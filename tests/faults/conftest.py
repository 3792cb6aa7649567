"""Real processes for tests that kill them."""

from collections.abc import Iterator

import pytest

from tests.faults.farm import Farm


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
