"""What the kernel says about memory, from files as different kernels write them, and from this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.exhaustion import named_exhaustion
from workers.memory import Held, OomKills, be_taken_first, held_by


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


EVENTS = "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"
VMSTAT = "nr_free_pages 1\noom_kill 7\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "cg/a/b/memory.events": EVENTS}, 3),
        ({"proc/self/cgroup": "0::/host/path\n", "cg/memory.events": EVENTS}, 3),
        ({"proc/self/cgroup": "4:memory:/x\n0::/\n", "cg/memory/x/memory.oom_control": CONTROL}, 5),
        ({"proc/self/cgroup": "4:cpu,memory:/x\n", "cg/memory/memory.oom_control": CONTROL}, 5),
        ({"proc/self/cgroup": "0::/\n"}, 7),
        ({"proc/self/cgroup": "0::/a\n", "cg/a/memory.events": "low 0\n"}, 7),
        ({}, 7),
    ],
)
def test_kills_are_counted_in_the_nearest_group(
    tmp_path: Path, files: dict[str, str], count: int
) -> None:
    write(tmp_path, {"proc/vmstat": VMSTAT, **files})
    assert OomKills(tmp_path / "proc", tmp_path / "cg").count() == count


def test_a_kernel_that_does_not_tell(tmp_path: Path) -> None:
    assert OomKills(tmp_path, tmp_path).count() is None
    assert held_by(1, tmp_path) is None
    be_taken_first(file=tmp_path / "absent")


def test_what_a_process_holds(tmp_path: Path) -> None:
    write(tmp_path, {"7/status": "Name: x\nVmHWM:\t 2000 kB\n", "meminfo": "MemAvailable: 30 kB\n"})
    assert held_by(7, tmp_path) == Held(2_048_000, 30_720)


@pytest.mark.parametrize(
    ("before", "after"), [("0\n", "500"), ("800\n", "1000"), ("-997\n", "-497")]
)
def test_a_run_stands_before_its_worker_when_memory_runs_out(
    tmp_path: Path, before: str, after: str
) -> None:
    write(tmp_path, {"score": before})
    be_taken_first(file=tmp_path / "score")
    assert (tmp_path / "score").read_text() == after


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own files")
def test_this_kernel_tells() -> None:
    held = held_by(os.getpid())
    assert held
    assert held.peak > 10_000_000
    assert held.available
    assert OomKills().count() is not None


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, resource.RLIM_INFINITY))
try:
    bytearray(1 << 30)
except MemoryError as error:
    from core.exhaustion import named_exhaustion
    print(named_exhaustion(error, facts=lambda: "1 GB held").message)
"""


def test_an_allocation_beyond_the_limit_has_a_name() -> None:
    command = [sys.executable, "-c", LIMITED]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "memory ran out: 1 GB held.\n"


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_memory_that_runs_out_is_recognised(error: Exception) -> None:
    named = named_exhaustion(error)
    assert named
    assert named.code == "out-of-memory"
    assert "SECATEUR_MEMORY_BUDGET" in named.remedy


@pytest.mark.parametrize("error", [RuntimeError("shape"), OSError(2, "absent"), KeyError("memory")])
def test_other_errors_are_not(error: Exception) -> None:
    assert named_exhaustion(error) is None
