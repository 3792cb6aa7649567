"""The reaper on a real database and store, with a bell that counts instead of ringing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api import doorbell
from core.cleanup import losing_prefixes
from core.jobs.audit import Actor, AuditFilter
from core.jobs.migrate import migrate
from core.jobs.reaping import Ended
from core.jobs.states import State
from core.jobs.store import JobStore
from core.quotas import Quota, Quotas
from core.retention import Retention, Rule
from core.settings import Settings
from core.spec import parse_spec
from core.store.local import LocalStore
from workers.bell import QUEUE, TASK, Bell
from workers.reaper import Reaper

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(lease_seconds=60, heartbeat_seconds=15, scan_seconds=15, max_attempts=3)


class CountingBell(Bell):
    def __init__(self) -> None:
        self.rung: list[str] = []
        self.queue: int | None = 0

    def ring(self, job_id: str) -> None:
        self.rung.append(job_id)

    def waiting(self) -> int | None:
        return self.queue


class Bench:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/jobs.db"
        migrate(url)
        self.jobs, self.store = JobStore.open(url), LocalStore(folder / "store")
        self.bell = CountingBell()
        self.reaper = self.new_reaper(SETTINGS)

    def new_reaper(self, settings: Settings) -> Reaper:
        return Reaper(self.jobs, self.store, self.bell, settings)

    def scan(self, seconds: float, tick: float | None = None) -> None:
        now = NOW + timedelta(seconds=seconds)
        tick = seconds if tick is None else tick
        self.reaper.recover(now, tick)
        self.reaper.clean(now, tick)

    def post(self) -> str:
        spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
        return self.jobs.create("default", spec, NOW).id

    def running(self) -> str:
        job_id = self.post()
        assert self.jobs.claim(job_id, "worker", NOW, SETTINGS.lease_seconds)
        return job_id

    def state(self, job_id: str) -> State:
        return self.jobs.get("default", job_id).state


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.jobs.close()


def test_a_dead_workers_job_is_taken_back_and_rung(bench: Bench) -> None:
    job_id = bench.running()
    bench.scan(59)
    bench.scan(61)  # expired: suspected
    assert bench.state(job_id) is State.RUNNING
    bench.scan(92)
    assert bench.state(job_id) is State.QUEUED
    assert bench.bell.rung == [job_id]


def test_a_clock_set_forward_takes_no_job_from_a_living_worker(bench: Bench) -> None:
    """Wall clock plus an hour, monotonic time as ever; the worker's next heartbeat saves it."""
    job_id = bench.running()
    bench.scan(3605, tick=5)
    bench.jobs.heartbeat(job_id, 1, NOW + timedelta(seconds=3610), SETTINGS.lease_seconds)
    bench.scan(3620, tick=20)
    bench.scan(3640, tick=40)
    assert bench.state(job_id) is State.RUNNING
    assert bench.jobs.get("default", job_id).attempt == 1


def test_a_suspect_that_renewed_and_died_later_gets_the_whole_patience(bench: Bench) -> None:
    job_id = bench.running()
    bench.scan(61)
    bench.jobs.heartbeat(job_id, 1, NOW + timedelta(seconds=62), 1)
    bench.scan(92)
    assert bench.state(job_id) is State.RUNNING
    bench.scan(123)
    assert bench.state(job_id) is State.QUEUED


def test_a_forgotten_job_is_rung_only_where_no_doorbell_waits(bench: Bench) -> None:
    job_id = bench.post()
    bench.scan(14)  # the API has just rung
    assert bench.bell.rung == []
    bench.bell.queue = 1
    bench.scan(16)
    bench.bell.queue = None  # the broker is away
    bench.scan(17)
    assert bench.bell.rung == []
    bench.bell.queue = 0
    bench.scan(18)
    assert bench.bell.rung == [job_id]


def test_a_job_that_may_not_start_yet_is_rung_when_it_may(bench: Bench) -> None:
    settings = SETTINGS.model_copy(update={"quotas": Quotas({"default": Quota(running_jobs=1)})})
    reaper = bench.new_reaper(settings)
    job_id, waiting = bench.running(), bench.post()
    reaper.recover(NOW + timedelta(seconds=16), tick=16)
    assert bench.bell.rung == []
    bench.jobs.cancel("default", job_id, NOW)
    reaper.recover(NOW + timedelta(seconds=17), tick=17)
    assert bench.bell.rung == []  # it is told to stop, and has not stopped
    reaper.recover(NOW + timedelta(seconds=61), tick=61)
    reaper.recover(NOW + timedelta(seconds=92), tick=92)
    assert bench.state(job_id) is State.CANCELLED
    assert bench.bell.rung == [waiting]


def test_the_audit_log_is_kept_as_long_as_was_said(bench: Bench) -> None:
    reaper = bench.new_reaper(SETTINGS.model_copy(update={"audit_days": 2.0}))
    for hours in (0, 30):
        bench.jobs.record(Actor("a"), NOW + timedelta(hours=hours), "login", f"after {hours} h")

    def told(days: float, tick: float) -> int:
        reaper.clean(NOW + timedelta(days=days), tick=tick)
        return len(bench.jobs.audit(AuditFilter()).data)

    assert told(1.9, 0) == 2
    assert told(2.1, 3599) == 2  # it looks once in gc_seconds
    assert told(2.1, 3601) == 1
    assert told(9, 7300) == 0


def test_api_and_workers_speak_of_the_same_bell() -> None:
    assert (doorbell.TASK, doorbell.QUEUE) == (TASK, QUEUE)


def test_losing_runs_objects_go_at_the_end_and_never_before(bench: Bench) -> None:
    job_id = bench.running()
    keys = [f"jobs/{job_id}/{epoch}/model/x" for epoch in (1, 2)]
    for key in keys:
        bench.store.put_bytes(key, b"x")
    bench.jobs.requeue(job_id, 1, "died", NOW, max_attempts=3)
    bench.jobs.claim(job_id, "worker", NOW, SETTINGS.lease_seconds)
    bench.scan(1)
    assert [info.key for info in bench.store.list(f"jobs/{job_id}/")] == keys
    bench.jobs.succeed(job_id, 2, f"jobs/{job_id}/2/manifest.json", NOW)
    bench.scan(2)
    assert [info.key for info in bench.store.list(f"jobs/{job_id}/")] == keys[1:]


def succeeded(bench: Bench) -> str:
    job_id = bench.running()
    bench.store.put_bytes(f"jobs/{job_id}/1/manifest.json", b"x")
    bench.jobs.succeed(job_id, 1, f"jobs/{job_id}/1/manifest.json", NOW)
    return job_id


def test_old_results_expire_once_in_a_while_where_retention_says_so(bench: Bench) -> None:
    rule = Retention({"default": Rule(ttl_days=1)})
    settings = SETTINGS.model_copy(update={"retention": rule, "gc_seconds": 3600.0})
    reaper, day = bench.new_reaper(settings), 86400

    def kept(job_id: str) -> bool:
        return bool(list(bench.store.list(f"jobs/{job_id}/")))

    first = succeeded(bench)
    bench.scan(2 * day)  # a reaper without retention
    assert kept(first)
    reaper.clean(NOW + timedelta(days=0.9), tick=0)
    assert kept(first)
    reaper.clean(NOW + timedelta(days=2), tick=3599)
    assert kept(first)
    reaper.clean(NOW + timedelta(days=2), tick=3601)
    assert not kept(first)
    assert bench.jobs.get("default", first).expired_at == NOW + timedelta(days=2)
    second = succeeded(bench)
    reaper.clean(NOW + timedelta(days=2), tick=7200)
    assert kept(second)
    reaper.clean(NOW + timedelta(days=2), tick=7202)
    assert not kept(second)


@pytest.mark.parametrize(
    ("epoch", "winner", "losing"),
    [(0, None, []), (2, None, [1, 2]), (12, 1, range(2, 13)), (12, 12, range(1, 12))],
)
def test_the_winner_is_never_a_loser(epoch: int, winner: int | None, losing: list[int]) -> None:
    key = f"jobs/job_a/{winner}/manifest.json" if winner else None
    found = losing_prefixes(Ended("job_a", epoch, key))
    # Of the winner only what it could have been resumed from goes.
    spent = [f"jobs/job_a/{winner}/resume"] if winner else []
    assert sorted(found) == sorted([*(f"jobs/job_a/{number}" for number in losing), *spent])
