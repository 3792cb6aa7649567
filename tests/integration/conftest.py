"""One server for all tests of a file: each test looks only at jobs of its own."""

from collections.abc import Iterator

import pytest

from tests.served import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running
