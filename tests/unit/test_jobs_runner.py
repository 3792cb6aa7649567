"""What the runner does around the engine: publishing in order, naming errors, clearing up."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from pydantic import BaseModel

from core.errors import BadRequest, DiskFull, OutOfMemory, SecateurError
from core.spec import parse_spec
from core.store import manifest
from tests.faults.farm import clean_environment
from workers.protocol import Done, Failed, Moved, Request, Result, Stopped
from workers.runner import name_error, run
from workers.scratch import remove_leftovers, scratch


def request_for(folder: Path, **metadata: str) -> Request:
    data = {"model": {"source": "example:x"}, "sparsity": 0.5, "metadata": metadata}
    (folder / "scratch").mkdir()
    return Request(
        job_id="job_a", epoch=3, spec=parse_spec(data), supervisor=os.getppid(),
        entry="tests.faults.standin:work", store_url=f"file://{folder}/store",
        scratch=folder / "scratch", device="cpu", threads=None, memory_budget=None,
        model_roots=(),
    )  # fmt: skip


def assert_done(result: Result, folder: Path) -> None:
    """It says where its manifest is, and what all its files take in the store."""
    stored = folder / "store" / "objects" / "jobs" / "job_a" / "3"
    total = sum(file.stat().st_size for file in stored.rglob("*") if file.is_file())
    assert total > 0
    assert result == Done(manifest_key="jobs/job_a/3/manifest.json", stored_bytes=total)


def test_progress_only_grows_and_ends_in_publishing(tmp_path: Path) -> None:
    told: list[BaseModel] = []
    result = run(request_for(tmp_path, seconds="0"), told.append, Event())
    assert_done(result, tmp_path)
    moves = [line for line in told if isinstance(line, Moved)]
    fractions = [move.fraction for move in moves]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert moves[-1].phase == "publishing"


def test_a_run_that_was_told_to_stop_publishes_nothing(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    assert run(request_for(tmp_path, seconds="0"), lambda _: None, stop) == Stopped()
    assert not list(tmp_path.glob("store/objects/**/manifest.json"))


def test_a_result_that_is_complete_is_only_stored(tmp_path: Path) -> None:
    """By a runner that follows one which died on the way into the store."""
    request = request_for(tmp_path)
    (out := request.scratch / "out").mkdir()
    (out / "epoch.txt").write_text("of the first runner")
    manifest.write(manifest.build(out, spec={}, revision="", versions={}, seeds={}), out)
    result = run(request, lambda _: None, Event())
    assert_done(result, tmp_path)
    stored = tmp_path / "store" / "objects" / "jobs" / "job_a" / "3"
    assert (stored / "epoch.txt").read_text() == "of the first runner"


def test_a_store_that_cannot_be_written_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    result = run(request_for(tmp_path, seconds="0"), lambda _: None, Event())
    assert isinstance(result, Failed)
    assert result.code == "store-unavailable"
    assert result.remedy


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OSError(28, "No space left on device", "/x"), DiskFull, "disk-full"),
        (MemoryError(), OutOfMemory, "out-of-memory"),
        (BadRequest("as it is"), BadRequest, "bad-request"),
        (KeyError("unforeseen"), SecateurError, "internal"),
        (OSError(13, "Permission denied"), SecateurError, "internal"),
    ],
)
def test_every_error_has_a_name(error: Exception, kind: type[SecateurError], code: str) -> None:
    named = name_error(error)
    assert type(named) is kind
    assert named.code == code
    assert "\n" not in named.message


def test_scratch_goes_with_its_block_and_after_a_crash(tmp_path: Path) -> None:
    with scratch(tmp_path, "mine") as folder:
        (folder / "file").write_text("x")
        assert remove_leftovers(tmp_path) == 0
        assert (folder / "file").exists()
    assert list(tmp_path.iterdir()) == []
    crash = (
        "import os, sys; from pathlib import Path; from workers.scratch import scratch\n"
        "with scratch(Path(sys.argv[1]), 'lost') as folder:\n"
        "    (folder / 'file').write_text('x')\n"
        "    os._exit(1)"
    )
    command = [sys.executable, "-c", crash, str(tmp_path)]
    subprocess.run(command, env=clean_environment(), check=False)
    assert len(list(tmp_path.iterdir())) == 2
    assert remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_importing_the_worker_leaves_torch_alone() -> None:
    check = (
        "import sys, workers.app, workers.runner, secateur.embedded;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    )
    subprocess.run([sys.executable, "-c", check], env=clean_environment(), check=True)
