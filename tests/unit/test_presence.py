"""What a worker knows of itself without touching its device."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.jobs.presence import Gpu
from core.jobs.store import JobStore
from core.settings import Settings
from workers.presence import gpus, presence, tell, worker_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def driver(folder: Path, says: str, status: int = 0) -> str:
    """A program in the place of nvidia-smi, which also writes down what it was asked."""
    program = folder / "driver"
    program.write_text(
        f"#!/bin/sh\necho \"$@\" > '{folder}/asked'\nprintf '{says}'\nexit {status}\n"
    )
    program.chmod(0o755)
    return str(program)


def test_gpus_are_those_of_the_driver(tmp_path: Path) -> None:
    found = gpus(None, driver(tmp_path, "81559, NVIDIA H100 80GB HBM3\\n24576, NVIDIA L4\\n"))
    assert found == (
        Gpu(name="NVIDIA H100 80GB HBM3", memory_bytes=81559 << 20),
        Gpu(name="NVIDIA L4", memory_bytes=24576 << 20),
    )
    assert "-i" not in (tmp_path / "asked").read_text().split()


def test_hidden_gpus_are_not_asked_for(tmp_path: Path) -> None:
    gpus("0,GPU-abc", driver(tmp_path, ""))
    assert (tmp_path / "asked").read_text().endswith("-i 0,GPU-abc\n")
    (tmp_path / "asked").unlink()
    assert gpus("", driver(tmp_path, "1, x")) == ()
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(("says", "status"), [("", 9), ("no devices", 0), ("[N/A], x\\n", 0)])
def test_a_driver_that_cannot_tell(tmp_path: Path, says: str, status: int) -> None:
    assert gpus(None, driver(tmp_path, says, status)) == ()
    assert gpus(None, str(tmp_path / "absent")) == ()


def test_what_a_worker_says(tmp_path: Path) -> None:
    found = presence(Settings(device="cpu"), NOW, {})
    assert found.id == worker_id(os.getpid())
    assert found.id.endswith(f":{os.getpid()}")
    assert (found.device, found.gpus, found.started_at) == ("cpu", (), NOW)
    assert found.versions["python"].startswith("3.")
    assert "torch" in found.versions


def test_a_database_that_is_away_is_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with JobStore.open(f"sqlite:///{tmp_path}/not-migrated.db") as away:
        tell(away, presence(Settings(device="cpu"), NOW, {}), NOW, 15.0)
    assert "job database cannot be used" in caplog.text
