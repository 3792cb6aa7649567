"""Real processes for tests that kill them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.farm import Farm


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    try:
        yield made
    finally:
        made.close()
