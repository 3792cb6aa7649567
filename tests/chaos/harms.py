"""What befalls a world. Each harm is done, lasts, and is over when its function returns."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psutil
from sqlalchemy import select
from sqlalchemy.engine import make_url

from core.jobs.database import Database
from core.jobs.records import JobRecord
from core.jobs.states import OWNED
from tests.chaos.world import LEASE_SECONDS, World
from tests.faults.farm import family
from tests.faulty_proxy import Fault

Held = tuple[str, int]
"""A job and the epoch under which a worker holds it."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done, when by the monotonic clock, and which jobs lost their worker by it."""

    name: str
    began: float
    ended: float
    bereft: tuple[Held, ...] = ()


@dataclass
class Blow:
    """A harm on its way: what its function notes down."""

    bereft: tuple[Held, ...] = ()
    at: float = field(default_factory=time.monotonic)


def held_by(world: World, pid: int) -> tuple[Held, ...]:
    """What the worker with this main process holds."""
    query = select(JobRecord.id, JobRecord.epoch).where(
        JobRecord.state.in_(OWNED), JobRecord.worker.endswith(f":{pid}")
    )
    database = Database(world.url, pooled=False)
    try:
        with database.read() as session:
            return tuple((job_id, epoch) for job_id, epoch in session.execute(query))
    finally:
        database.close()


def kill_worker(world: World, blow: Blow) -> None:
    """All of a worker's processes at once, as when its machine goes."""
    worker = world.any_worker()
    processes = family(worker.pid)
    with stopped(processes):
        blow.bereft, blow.at = held_by(world, worker.pid), time.monotonic()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def kill_main_process(world: World, blow: Blow) -> None:
    del blow
    world.any_worker().kill()


def kill_supervisor(world: World, blow: Blow) -> None:
    del blow
    for process in family(world.any_worker().pid)[1:2]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_runner(world: World, blow: Blow) -> None:
    del blow
    for process in family(world.any_worker().pid)[2:]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def stop_worker(world: World, blow: Blow) -> None:
    """SIGSTOP beyond the lease; when it goes on, others have its job."""
    worker = world.any_worker()
    frozen = world.stop_family(worker)
    blow.bereft, blow.at = held_by(world, worker.pid), time.monotonic()
    time.sleep(LEASE_SECONDS * 1.8)
    for process in reversed(frozen):  # the runner first: it may end before it is killed
        with suppress(psutil.NoSuchProcess):
            process.resume()


def kill_api(world: World, blow: Blow) -> None:
    del blow
    world.api.kill()


def kill_broker(world: World, blow: Blow) -> None:
    del blow
    world.server.kill()
    world.server.wait()


def wipe_broker(world: World, blow: Blow) -> None:
    """It comes back without the messages it held."""
    del blow
    world.broker_away = True
    world.server.kill()
    world.server.wait()
    for path in sorted((world.folder / "broker").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world.broker_away = False


def restart_database(world: World, blow: Blow) -> None:
    """kill -9 to PostgreSQL; of SQLite, which has no process, the lock is held by another."""
    del blow
    if world.ground.postgres:
        world.ground.postgres.kill()
        time.sleep(world.random.uniform(0.2, 3))
        world.ground.postgres.start()
        return
    path = str(make_url(world.url).database)
    with closing(sqlite3.connect(path, timeout=30)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        time.sleep(world.random.uniform(0.2, 3))
        holder.rollback()


def break_store(world: World, blow: Blow) -> None:
    """For some seconds, uploads are refused, cut, stalled or falsified."""
    del blow
    assert world.ground.proxy
    kind = world.random.choice(["answer", "cut-request", "flip-request", "hold", "reset"])
    world.ground.proxy.fault = Fault(kind, "GET" if kind == "reset" else "PUT", at=500, times=8)  # type: ignore[arg-type]
    time.sleep(world.random.uniform(1, 5))
    world.ground.proxy.fault = None


def fill_disk(world: World, blow: Blow) -> None:
    """Where runs work there is no byte left for a while."""
    del blow
    assert world.ground.disk
    ballast = world.ground.disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    time.sleep(world.random.uniform(0.5, 2))
    ballast.unlink()


def move_clock(world: World, blow: Blow) -> None:
    """The workers' clocks jump, and some seconds later back."""
    del blow
    world.clock.write_text(str(world.random.choice([-7200, -30, 30, 7200])))
    time.sleep(world.random.uniform(1, 4))
    world.clock.unlink()


ANYWHERE: Final = (
    kill_worker,
    kill_main_process,
    kill_supervisor,
    kill_runner,
    stop_worker,
    kill_api,
    kill_broker,
    wipe_broker,
    restart_database,
    move_clock,
)


def possible(world: World) -> list[Callable[[World, Blow], None]]:
    """What can befall `world`."""
    found: list[Callable[[World, Blow], None]] = list(ANYWHERE)
    found += [break_store] if world.ground.proxy else []
    found += [fill_disk] if world.ground.disk else []
    return found


def in_turns(world: World) -> Iterator[Callable[[World, Blow], None]]:
    """Every possible harm, in an order of chance, again and again."""
    while True:
        harms = possible(world)
        world.random.shuffle(harms)
        yield from harms


def strike(world: World, harm: Callable[[World, Blow], None]) -> Harm:
    """Do it, and come back when it is over."""
    blow = Blow()
    harm(world, blow)
    return Harm(harm.__name__, blow.at, time.monotonic(), blow.bereft)


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Still for a moment, so that what they hold can be read before they die of it."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    yield
