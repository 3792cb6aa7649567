"""The short form of `make chaos`: every harm once on each database, and no law broken."""

from pathlib import Path

import pytest

from tests.chaos.figures import page
from tests.chaos.run import run
from tests.chaos.world import Kind, Plan


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_accepted_job_ends_once_whatever_befalls_the_service(
    database: Kind, tmp_path: Path
) -> None:
    found = run(tmp_path, Plan(database, jobs=30, real=1, workers=2))
    assert not found.verdict.wrong, page([found])
    assert len(found.users.accepted) == 30
    assert found.verdict.outcomes["succeeded"] > 15, page([found])
