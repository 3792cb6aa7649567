"""PostgreSQL is killed, comes back, or meets a client that stands still: nobody needs a new process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import literal, select, text

from core.errors import StoreUnavailable
from core.jobs import engines
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.records import JobRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.spec import parse_spec
from tests.faults.farm import Farm, family, wait_for
from tests.faults.test_lost_processes import assert_succeeded_once
from tests.postgres import PASSWORD, PostgresServer, running_postgres

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server that these tests may kill, and start again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def url(mortal: PostgresServer) -> str:
    made = mortal.new_database()
    migrate(made)
    return made


def test_a_store_outlives_the_death_of_its_server(mortal: PostgresServer, url: str) -> None:
    with JobStore.open(url) as jobs, ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: jobs.create("default", SPEC, NOW).id, range(40)))
        mortal.kill()
        sleep(engines.TRUSTED_SECONDS)  # who asks sooner is told of a connection that broke
        for ask in (jobs.ping, lambda: jobs.create("default", SPEC, NOW), lambda: jobs.list("t")):
            with pytest.raises(StoreUnavailable) as refusal:
                ask()
            assert "refused" in str(refusal.value)
            assert PASSWORD not in str(refusal.value)
        mortal.start()
        assert set(pool.map(lambda i: jobs.get("default", i).id, ids)) == set(ids)
        assert jobs.claim(ids[0], "worker", NOW, 60) is not None


def test_connections_from_before_a_restart_are_not_used(mortal: PostgresServer, url: str) -> None:
    """Nobody asked while the server was away: nobody gets to know."""
    with JobStore.open(url) as jobs, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: jobs.create("default", SPEC, NOW), range(40)))
        mortal.kill()
        mortal.start()
        found = pool.map(lambda _: len(jobs.list("default", limit=200).data), range(40))
        assert set(found) == {40}


def test_a_connection_is_asked_once_it_has_rested(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(url)) as database:
        asked: list[Any] = []
        engine = database._engine
        monkeypatch.setattr(engine.dialect, "do_ping", asked.append)
        for trusted, expected in ((3600.0, 0), (0.0, 3)):
            monkeypatch.setattr(engines, "TRUSTED_SECONDS", trusted)
            for _ in range(3):
                assert len(database.ask(select(literal(1)))) == 1
            assert len(asked) == expected


def test_a_transaction_dies_with_its_server_and_leaves_nothing(
    mortal: PostgresServer, url: str
) -> None:
    def move_and_lose_the_server(database: Database) -> None:
        with database.write() as session:
            record = session.get_one(JobRecord, job_id)
            record.state = State.SUCCEEDED
            session.flush()
            mortal.kill()
            mortal.start()

    with JobStore.open(url) as jobs, closing(Database(url)) as database:
        job_id = jobs.create("default", SPEC, NOW).id
        with pytest.raises(StoreUnavailable):
            move_and_lose_the_server(database)
        assert jobs.get("default", job_id).state is State.QUEUED


def test_the_server_is_told_how_long_to_wait(url: str) -> None:
    wanted = {
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "30s",
        "application_name": "secateur",
    }
    with closing(Database(url)) as database, database.read() as session:
        assert {name: session.scalar(text(f"SHOW {name}")) for name in wanted} == wanted


def test_a_claim_waits_for_nobody(url: str) -> None:
    with JobStore.open(url) as jobs, closing(Database(url)) as database:
        first, second = (jobs.create("default", SPEC, NOW).id for _ in range(2))
        with database.write() as session:
            session.get_one(JobRecord, first, with_for_update=True)
            began = monotonic()
            assert jobs.claim(first, "worker", NOW, 60) is None
            assert jobs.claim(second, "worker", NOW, 60) is not None
            assert monotonic() - began < 5  # a lock is waited for twice as long
        assert jobs.claim(first, "worker", NOW, 60) is not None


def test_a_client_that_stands_still_holds_a_job_for_a_while_only(url: str) -> None:
    """As a worker does that is stopped between two statements."""
    patience = quote("-c lock_timeout=200ms -c idle_in_transaction_session_timeout=1s")
    impatient = f"{url}?options={patience}"

    def stand_still(database: Database) -> None:
        with database.write() as session:
            session.get_one(JobRecord, job_id, with_for_update=True)
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                jobs.cancel("default", job_id, NOW)
            wait_for(cancelled, "the row to come free")
            session.execute(text("SELECT 1"))

    def cancelled() -> bool:
        try:
            return jobs.cancel("default", job_id, NOW).state is State.CANCELLED
        except StoreUnavailable:
            return False

    with JobStore.open(impatient) as jobs, closing(Database(impatient)) as frozen:
        job_id = jobs.create("default", SPEC, NOW).id
        with pytest.raises(StoreUnavailable, match="idle-in-transaction"):
            stand_still(frozen)
        assert jobs.get("default", job_id).state is State.CANCELLED


@pytest.fixture
def postgres_farm(
    mortal: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Farm]:
    made = Farm(tmp_path_factory.mktemp("farm"), database_url=mortal.new_database())
    try:
        yield made
    finally:
        made.close()


def test_the_whole_worker_is_killed(postgres_farm: Farm) -> None:
    worker = postgres_farm.start_worker()
    job_id = postgres_farm.post(seconds="2")
    postgres_farm.await_progress(job_id)
    for process in family(worker.pid)[:2]:  # Celery's main process and the supervisor
        process.kill()
    worker.wait()
    postgres_farm.start_worker()
    assert_succeeded_once(postgres_farm, job_id)
    assert postgres_farm.get(job_id).attempt == 2


def test_a_database_that_is_away_at_the_end_costs_no_run(
    mortal: PostgresServer, postgres_farm: Farm
) -> None:
    postgres_farm.start_worker()
    job_id = postgres_farm.post(seconds="2")
    postgres_farm.await_progress(job_id)
    mortal.kill()
    wait_for(
        lambda: f"jobs/{job_id}/1/manifest.json" in postgres_farm.keys(job_id), "the publication"
    )
    mortal.start()
    assert_succeeded_once(postgres_farm, job_id)
    assert (postgres_farm.get(job_id).attempt, postgres_farm.get(job_id).epoch) == (1, 1)
