"""Points in a store: what a later run finds of them, whatever happened to the earlier one."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from core.errors import CorruptObject, StoreUnavailable
from core.points import Level, Saved
from core.store.local import LocalStore
from core.stored_points import Run, StoredPoints
from tests.faults.farm import clean_environment, wait_for

JOB = "job_" + "a" * 24
HERE = {"torch": "2.8", "device": "one"}
Told = list[tuple[Level, str]]


class Store(LocalStore):
    """A real one that fails or waits when told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failures: list[Exception] = []
        self.free = Event()
        self.free.set()

    def put_file(
        self, key: str, source: Path, *, sha256: str | None = None, resume: bool = False
    ) -> None:
        self.free.wait(30)
        if self.failures:
            raise self.failures.pop()
        super().put_file(key, source, sha256=sha256, resume=resume)


class Bench:
    """One job's attempts, each with points of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.told: Told = []
        self.open: list[StoredPoints] = []

    def attempt(self, epoch: int) -> StoredPoints:
        made = StoredPoints(
            self.store,
            Run(JOB, epoch, f"attempt {epoch}"),
            self.folder / f"spool-{epoch}",
            tell=lambda level, text, data: self.told.append((level, text)),
        )
        self.open.append(made)
        return made

    def keep(self, points: StoredPoints, number: int, kind: str = "block") -> None:
        """Save a point and wait until it is in the store's index."""
        text = f"{kind} {number} of {points._run.name}"
        points.save(number, kind, lambda path: path.write_text(text))
        wait_for(lambda: number < self.indexed(points._run.epoch), "the index", seconds=20)

    def indexed(self, epoch: int) -> int:
        path = self.path(epoch, "index.json")
        return len(json.loads(path.read_text())["entries"]) if path.exists() else 0

    def path(self, epoch: int, name: str) -> Path:
        return self.store.root / "objects" / "jobs" / JOB / str(epoch) / "resume" / name

    def first_attempt(self, count: int = 3) -> None:
        points = self.attempt(1)
        assert points.open(HERE, look) == []
        for number in range(count):
            self.keep(points, number)


def look(done: int, of: int) -> None:
    assert 0 <= done < of


def texts(saved: list[Saved]) -> list[str]:
    return [each.path.read_text() for each in saved]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for points in made.open:
        points.__exit__(None, None, None)


def test_a_later_attempt_finds_what_an_earlier_one_kept(bench: Bench) -> None:
    bench.first_attempt()
    saved = bench.attempt(2).open(HERE, look)
    assert texts(saved) == [f"block {n} of attempt 1" for n in range(3)]
    assert {(each.kind, each.origin) for each in saved} == {("block", "attempt 1")}
    assert bench.told == []


def test_a_third_attempt_goes_on_behind_the_second(bench: Bench) -> None:
    bench.first_attempt(2)
    second = bench.attempt(2)
    assert len(second.open(HERE, look)) == 2
    bench.keep(second, 2)
    saved = bench.attempt(3).open(HERE, look)
    assert texts(saved) == [
        "block 0 of attempt 1", "block 1 of attempt 1", "block 2 of attempt 2",
    ]  # fmt: skip
    assert [each.origin for each in saved] == ["attempt 1", "attempt 1", "attempt 2"]


def test_an_attempt_that_died_at_once_hides_nothing(bench: Bench) -> None:
    bench.first_attempt()
    bench.attempt(2).open(HERE, look)
    assert len(bench.attempt(3).open(HERE, look)) == 3


def test_an_attempt_elsewhere_hides_nothing(bench: Bench) -> None:
    """Which could use nothing of the first, began anew, and died early."""
    bench.first_attempt()
    second = bench.attempt(2)
    assert second.open(HERE | {"device": "another"}, look) == []
    bench.keep(second, 0)
    assert texts(bench.attempt(3).open(HERE, look))[0] == "block 0 of attempt 1"
    told = "finished parts of attempt 1 are not used: device was one and is another"
    assert bench.told[0] == ("warning", told)


def test_what_was_found_and_not_taken_is_forgotten(bench: Bench) -> None:
    bench.first_attempt()
    second = bench.attempt(2)
    second.open(HERE, look)
    bench.keep(second, 1)
    for number in (2, 3):
        bench.keep(second, number)
    saved = bench.attempt(3).open(HERE, look)
    assert texts(saved)[:2] == ["block 0 of attempt 1", "block 1 of attempt 2"]
    assert len(saved) == 4


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "differs from its SHA-256": flip,
    "has another size": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "is missing": Path.unlink,
}


@pytest.mark.parametrize("problem", list(DAMAGE))
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_point_ends_what_can_be_used(bench: Bench, problem: str, number: int) -> None:
    bench.first_attempt()
    DAMAGE[problem](bench.path(1, f"{number:05}-block.safetensors"))
    second = bench.attempt(2)
    assert len(second.open(HERE, look)) == number
    told = f"the point {number:05}-block of attempt 1 {problem}: it is ignored, and so is all that follows"
    assert bench.told[0] == ("warning", told)
    assert len(bench.told) == 1 + (number == 0)
    bench.keep(second, number)
    assert len(bench.attempt(3).open(HERE, look)) == number + 1


@pytest.mark.parametrize(
    "index",
    [
        b"", b"\x00\xff", b"[]", b'{"schema_version": 2}',
        json.dumps({"origin": "x", "run": HERE, "entries": [
            {"name": "../../x", "epoch": 1, "origin": "x", "bytes": 1, "sha256": "0" * 64}]}).encode(),
        json.dumps({"origin": "x", "run": HERE, "entries": [
            {"name": "00000-block", "epoch": 7, "origin": "x", "bytes": 1, "sha256": "0" * 64}]}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_index_is_ignored(bench: Bench, index: bytes) -> None:
    bench.first_attempt()
    bench.store.put_bytes(f"jobs/{JOB}/2/resume/index.json", index)
    assert len(bench.attempt(3).open(HERE, look)) == 3
    told = "the index of finished parts of epoch 2 is damaged: ignored"
    assert bench.told == [("warning", told)]


@pytest.mark.parametrize("name", ["torch", "more"])
def test_another_version_is_named(bench: Bench, name: str) -> None:
    bench.first_attempt()
    assert bench.attempt(2).open(HERE | {name: "2.9"}, look) == []
    before = HERE.get(name, "unknown")
    assert bench.told[0][1].endswith(f"are not used: {name} was {before} and is 2.9")


def test_a_store_that_is_away_costs_no_time_and_gets_everything_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.stored_points.PAUSE_SECONDS", 0.01)
    points = bench.attempt(1)
    points.open(HERE, look)
    bench.store.failures = [StoreUnavailable("the store is away.")] * 5
    bench.store.free.clear()
    for number in range(3):
        points.save(number, "block", lambda path: path.write_text("x"))
    bench.store.free.set()
    wait_for(lambda: bench.indexed(1) == 3, "the points", seconds=20)
    assert bench.told == []


def test_a_store_that_refuses_is_asked_no_more(bench: Bench) -> None:
    points = bench.attempt(1)
    points.open(HERE, look)
    bench.keep(points, 0)
    bench.store.failures = [CorruptObject("other bytes.")]
    points.save(1, "block", lambda path: path.write_text("x"))
    wait_for(lambda: points._trouble is not None, "the failure", seconds=20)
    for number in (2, 3):
        points.save(number, "block", lambda path: path.write_text("x"))
    told = "from here on nothing is kept for another attempt to go on from: other bytes."
    assert bench.told == [("warning", told)]
    assert bench.indexed(1) == 1


def test_a_slow_store_does_not_fill_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.stored_points.WAITING_BYTES", 250)
    points = bench.attempt(1)
    points.open(HERE, look)
    bench.store.free.clear()
    for number in range(9):
        points.save(number, "block", lambda path: path.write_bytes(bytes(100)))
    assert sum(path.stat().st_size for path in points._spool.glob("0*")) == 200
    assert len(bench.told) == 1
    bench.store.free.set()


def test_a_full_disk_here_is_no_error_of_the_run(bench: Bench) -> None:
    def refuse(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    points = bench.attempt(1)
    points.open(HERE, look)
    for number in range(3):
        points.save(number, "block", refuse)
    assert len(bench.told) == 1
    assert list(points._spool.iterdir()) == []


KILLED_WITHIN_A_PUT = """
import os, signal, sys
from pathlib import Path
from core.store import local
from core.stored_points import Run, StoredPoints

def copy(reader, writer, sha256):
    if "00001" in reader.name:
        writer.write(reader.read(3)), writer.flush(), os.fsync(writer.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(reader, writer, sha256)

whole, local._copy = local._copy, copy
root, job, here = Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
points = StoredPoints(local.LocalStore(root / "store"), Run(job, 1, "attempt 1"), root / "spool", tell=print)
points.open(here, print)
for number in range(3):
    points.save(number, "block", lambda path: path.write_text("a finished block"))
points._sender.join()
"""


def test_a_kill_within_a_put_leaves_the_points_before_it(bench: Bench) -> None:
    command = [sys.executable, "-c", KILLED_WITHIN_A_PUT, str(bench.folder), JOB, repr(HERE)]
    ended = subprocess.run(command, env=clean_environment(), check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    second = bench.attempt(2)
    assert texts(second.open(HERE, look)) == ["a finished block"]
    assert bench.told == []
    bench.keep(second, 1)
    assert len(bench.attempt(3).open(HERE, look)) == 2
